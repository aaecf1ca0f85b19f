"""Time of `jacobian_products` over the time of its matrix products alone, for vanilla, SRC and ASRC.

    python benchmarks/products.py --steps 784 --neurons 128 --samples 8 --span 12 --max-span 51

The floor is one (samples · H × H) times (H × H) product per step, in float64 with the same threads. Floor and
products are timed in turn in one process: other load on the machine falls on both. The table has the median
of the ratio of neighbours, its quartiles, and the ratio of the best times. On a busy machine, `--threads 1`
times the processor instead of the clock. A triangle surrogate at potentials
like those of a run on digits gives the factors; the products do not depend on where those come from.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from gradflow.jacobian import MatrixNorm, jacobian_products
from gradflow.transition import LayerTransition, Transition


def transition(
    steps: int, samples: int, neurons: int, spans: tuple[int, ...], decay: float = 0.5
) -> Transition:
    """Return one layer's factors at normal potentials around the threshold, V orthogonal, p uniform."""
    rng = np.random.default_rng(0)
    phi = np.maximum(0.0, 1.0 - np.abs(0.7 * rng.normal(size=(steps, samples, neurons))))
    V = np.linalg.qr(rng.normal(size=(neurons, neurons)))[0]
    weights = tuple(1.0 / len(spans) for _ in spans)
    return Transition((LayerTransition(decay * (1.0 - phi), phi, V, spans, weights),))


def floor(steps: int, samples: int, neurons: int) -> Callable[[], object]:
    """Return the step's product alone, `steps` times."""
    rng = np.random.default_rng(0)
    rows, V = rng.normal(size=(samples * neurons, neurons)), rng.normal(size=(neurons, neurons))
    out = np.empty_like(rows)

    def products() -> None:
        for _ in range(steps):
            np.matmul(rows, V, out=out)

    return products


def seconds(job: Callable[[], object]) -> float:
    """Return the time of one call: of the processor on one thread, of the clock on several."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    job()
    return clock() - begin


def ratios(job: Callable[[], object], base: Callable[[], object], repeats: int) -> tuple[np.ndarray, float]:
    """Return job / base of each repeat (base timed before and after), and best / best."""
    job()  # compiles
    base()
    bases, jobs = [seconds(base)], []
    for _ in range(repeats):
        jobs.append(seconds(job))
        bases.append(seconds(base))
    around = 0.5 * (np.array(bases[:-1]) + np.array(bases[1:]))
    return np.array(jobs) / around, min(jobs) / min(bases)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=784, help="T")
    parser.add_argument("--neurons", type=int, default=128, help="H")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--span", type=int, default=12, help="λ of SRC")
    parser.add_argument("--max-span", type=int, default=51, help="D of ASRC, soft")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)
    size = (args.steps, args.samples, args.neurons)
    base = floor(*size)
    recurrences = {
        "vanilla": (1,),
        f"SRC λ={args.span}": (args.span,),
        f"ASRC D={args.max_span}": tuple(range(1, args.max_span + 1)),
    }
    print(f"T={size[0]}, {size[1]} samples, H={size[2]}, float64, {torch.get_num_threads()} threads")
    print(f"{'recurrence':<12} {'norms':<24} {'median':>7} {'quartiles':>13} {'best':>6}")
    for name, spans in recurrences.items():
        found = transition(*size, spans)
        for norms in ((MatrixNorm.FROBENIUS,), tuple(MatrixNorm)):
            ratio, best = ratios(lambda f=found, n=norms: jacobian_products(f, norms=n), base, args.repeats)
            low, middle, high = np.percentile(ratio, [25, 50, 75])
            print(f"{name:<12} {' + '.join(norms):<24} {middle:7.2f} {low:6.2f}–{high:<6.2f} {best:6.2f}")


if __name__ == "__main__":
    main()
