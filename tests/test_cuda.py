"""The fused engine for GPUs: its blocks on CPU tensors, its kernels interpreted, all of it on a GPU.

The kernels' arithmetic is tested without a GPU, and that they compile for GPUs; what only a GPU can show
(launches, memory shared by the threads of a program) is in the tests that skip where there is none.
"""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from agreement import check_agreement, gradients, layer
from cases import TABLE, networks
from compare import assert_close, assert_equal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gradflow as gf
from gradflow.engine import scan_triton
from gradflow.engine.automatic import _said
from gradflow.engine.cuda import _scans_on_cuda
from gradflow.engine.kernels.neuron import MEASURES
from gradflow.engine.scan_torch import TORCH
from gradflow.recurrence import Taps

needs_triton = pytest.mark.skipif(scan_triton.triton is None, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
COEFFICIENTS = ("leak", "multiplied", "subtracted", "threshold")
SPANS = [
    ((1,), [1.0]),
    ((7,), [0.8]),
    ((39,), [1.0]),
    ((40,), [1.0]),
    ((1, 2), [0.5, 0.5]),
    ((3, 5, 39, 60), [0.2, -0.3, 0.4, 0.1]),
    ((5, 6, 7), [0.3, 0.3, 0.4]),
    ((16, 17), [0.5, 0.5]),
    ((25, 30), [0.5, -0.5]),
    (tuple(range(1, 35)), [1 / 34] * 34),
]


def check(case, **options):
    """Assert that the engine with torch's scans agrees with the reference; False where a spike flipped."""
    return check_agreement(case, gf.engine.cuda, "fused torch", **options)


@pytest.mark.parametrize("name", TABLE)
def test_every_case_agrees(name):
    assert check(TABLE[name])


@given(networks(), st.booleans())
@settings(max_examples=120)
def test_every_network_agrees(case, through_u):
    # a potential within rounding of the threshold may fall on either side of it
    assume(check(case, through_u=through_u))


@given(networks(), st.booleans())
@settings(max_examples=60)
def test_every_network_agrees_in_float32(case, through_u):
    assume(check(case, dtype=torch.float32, through_u=through_u))


@given(networks(), st.integers(9, 70), st.integers(2, 9), st.integers(20, 40))
@settings(max_examples=15)
def test_longer_wider_networks_agree(case, steps, batch, neurons):
    assume(check(replace(case, steps=steps, batch=batch, hidden=(neurons,) * len(case.hidden))))


def compare_gradients(spans, weights, **size):
    """Assert that u, s and the gradients for drive, V and p are those of the reference."""
    drive, V, dynamics = layer(**size)
    want, expected = gradients(gf.engine.reference, drive, V, dynamics, spans, weights)
    got, found = gradients(gf.engine.cuda, drive, V, dynamics, spans, weights)
    if not torch.equal(got.s, want.s):
        return False
    for a, b, name in zip(found, expected, ("drive", "V", "p"), strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-11 * float(b.abs().max()), why=f"order of sums, {name}")
    return True


@pytest.mark.parametrize(("spans", "weights"), SPANS)
def test_spans_and_their_weights(spans, weights):
    """Blocks shorter and longer than 16 steps, spans beyond the sequence, weights that are no softmax."""
    assert compare_gradients(spans, weights)


@given(st.sets(st.integers(1, 45), min_size=1, max_size=6), st.integers(1, 50), st.integers(0, 99))
@settings(max_examples=80)
def test_every_set_of_spans_agrees(spans, steps, seed):
    """Blocks, the shorter blocks at the ends, and what the steps of one tell the next."""
    weights = (0.3 * gf.seeds.normal(seed, "p", shape=(len(spans),))).tolist()
    assume(compare_gradients(tuple(sorted(spans)), weights, steps=steps, batch=2, neurons=5, seed=seed))


@pytest.mark.parametrize("spans", [(3,), (1, 2, 5)])
@pytest.mark.parametrize("wanted", ["drive", "V", "leak", "threshold", "gate", "p"])
def test_one_gradient_alone(wanted, spans):
    """A gradient that is asked for alone is the one that comes with all others."""
    net = TABLE["glif per neuron, detached, asrc"].net()
    x = torch.from_numpy(gf.seeds.normal(1, "x", shape=(6, 2, 4)))
    dynamics = net.layers[0].neuron.dynamics(x).detached()
    V, p = net.layers[0].V.detach(), torch.full((len(spans),), 0.5, dtype=torch.float64)
    values = {
        "drive": x,
        "V": V,
        "p": p,
        **{key: getattr(dynamics, key) for key in ("leak", "threshold", "gate")},
    }
    leaf = values[wanted] = values[wanted].clone().requires_grad_()
    given_dynamics = replace(dynamics, **{key: values[key] for key in ("leak", "threshold", "gate")})
    found = []
    for engine in (gf.engine.reference, gf.engine.cuda):
        trace = engine(values["drive"], values["V"], given_dynamics, Taps(spans, values["p"]))
        found.append(torch.autograd.grad((trace.u**2).sum() + trace.s.sum(), leaf)[0])
    assert float(found[0].abs().max()) > 0
    assert_close(found[1], found[0], rtol=1e-12, atol=1e-13, why="order of sums")


@pytest.mark.parametrize("reach", [None, 0, 2, 50])
@pytest.mark.parametrize("name", TABLE)
def test_observations_are_those_of_the_engine_on_cpu(name, reach):
    """And what it hands to a segment that goes on, and makes of the gradients that come back from there."""
    run = TABLE[name].net()(TABLE[name].x()).layers[0]
    taps = Taps(run.taps.spans, run.taps.weights.detach())
    seen, found = [], []
    for engine in (gf.engine.fused, gf.engine.cuda):
        observation = gf.engine.Observation()
        drive = run.drive.detach().requires_grad_()
        leak = run.dynamics.leak.detach().requires_grad_()
        dynamics = replace(run.dynamics.detached(), leak=leak)
        trace = engine(drive, run.V, dynamics, taps, observation=observation, reach=reach)
        loss = (trace.s * torch.arange(1.0, 1 + drive.shape[2])).sum()
        if reach is not None:
            loss = loss + 1.5 * trace.carry.square().sum() + trace.tail.sum() + trace.u.sum()
            found.append((trace.carry, trace.tail, *torch.autograd.grad(loss, (drive, leak))))
        else:
            found.append(torch.autograd.grad(loss, (drive, leak)))
        seen.append(observation)
    for measure in MEASURES:
        assert_close(seen[1].of(measure), seen[0].of(measure), rtol=1e-12, atol=1e-14, why="order of sums")
    for got, want in zip(found[1], found[0], strict=True):
        assert_close(got, want, rtol=1e-12, atol=1e-13, why="order of sums")


@given(networks(), st.integers(1, 9))
@settings(max_examples=40)
def test_runs_in_segments_have_the_gradients_of_the_reference(case, every):
    assume(case.norm is None or isinstance(case.norm, gf.LayerNorm) or not case.training)
    net, x = case.net(), case.x()
    if min(float((run.u - run.dynamics.threshold).detach().abs().min()) for run in net(x).layers) < 1e-9:
        assume(False)
    found = []
    for options in ({"engine": gf.engine.reference}, {"engine": gf.engine.cuda, "checkpoint": every}):
        loss = net(x, **options).outputs.square().sum()
        grads = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
        zeros = map(torch.zeros_like, net.parameters())
        found.append([zero if g is None else g for g, zero in zip(grads, zeros, strict=True)])
    scale = 1.0 + max(float(value.abs().max()) for value in found[0] if value.numel())
    for got, want in zip(found[1], found[0], strict=True):
        assert_close(got, want, rtol=1e-10, atol=1e-12 * scale, why="order of sums")


def test_norms_of_faint_gradients_do_not_underflow():
    """At 10⁻²⁰⁰ every square underflows; the norms are 10⁻²⁰⁰ times those at 1, the shares the same."""
    drive, V, dynamics = layer(steps=6, batch=2, neurons=5)
    seen = {}
    for size in (1.0, 1e-200):
        seen[size] = gf.engine.Observation()
        trace = gf.engine.cuda(
            drive.requires_grad_(), V, dynamics, Taps((2,), torch.ones(1).double()), observation=seen[size]
        )
        (size * trace.s.sum()).backward()
    assert seen[1.0].of("grad_u").min() > 0
    for measure in MEASURES:
        factor = 1e-200 if measure.startswith("grad") else 1.0
        want = factor * seen[1.0].of(measure)
        assert_close(seen[1e-200].of(measure), want, rtol=1e-12, why="products by 1e-200 round")


def test_a_long_observation_is_measured_in_chunks(monkeypatch):
    drive, V, dynamics = layer(steps=11, batch=2, neurons=5)
    seen = []
    for chunk in (10**6, 30):
        monkeypatch.setattr("gradflow.engine.measuring.CHUNK", chunk)
        seen.append(gf.engine.Observation())
        taps = Taps((1, 4), torch.tensor([0.5, 0.5]).double())
        gf.engine.cuda(drive.requires_grad_(), V, dynamics, taps, observation=seen[-1]).u.sum().backward()
    assert_equal(seen[1].measures, seen[0].measures)


def test_a_pass_keeps_the_potentials_and_no_other_sequence():
    drive, V, dynamics = layer(batch=4, neurons=6)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t):
        gf.engine.cuda(drive.requires_grad_(), V, dynamics, Taps((3,), torch.ones(1)))
    assert [tensor.shape for tensor in kept if tensor.ndim == 3] == [drive.shape]


def test_a_second_derivative_is_refused():
    """Nothing in the backward pass is recorded: a derivative of it would be wrong without a word."""
    drive, V, dynamics = layer(steps=5, batch=2, neurons=3)
    trace = gf.engine.cuda(drive.requires_grad_(), V, dynamics, Taps((1,), torch.ones(1).double()))
    (g,) = torch.autograd.grad((trace.u**2).sum(), drive, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_a_surrogate_of_a_user_is_run_too():
    class Half(gf.Triangle):
        def derivative(self, x):
            return 0.5 * super().derivative(x)

    case = TABLE["lif soft attached, vanilla"]
    assert check(replace(case, neurons=(gf.LIF(surrogate=Half()),)))


def test_automatic_chooses_by_device(caplog):
    """On a device that is no CPU ("meta" computes nothing) the twin runs; on CPU the compiled kernels do."""
    drive, V, dynamics = layer(steps=5, batch=2, neurons=3)
    taps = Taps((), torch.ones(0))
    moved = replace(
        dynamics, **{key: value.to("meta") for key, value in vars(dynamics).items() if key in COEFFICIENTS}
    )
    assert gf.engine.automatic(drive, V, dynamics, Taps((1,), torch.ones(1).double())).engine == "fused"
    assert gf.engine.automatic(drive.to("meta"), None, moved, taps).engine == "fused torch"
    _said.clear()
    with caplog.at_level(logging.WARNING, logger="gradflow"):
        got = gf.engine.automatic(drive.half().to("meta"), None, moved, taps)
    assert got.engine == "reference"
    assert "cannot run dtype torch.float16" in caplog.text
    with pytest.raises(ValueError, match=r"cannot run dtype torch.float16.*gradflow.engine.reference"):
        gf.engine.cuda(drive.half(), None, dynamics, taps)
    with pytest.raises(ValueError, match=r"cannot run tensors on meta.*gradflow.engine.reference"):
        gf.engine.fused(drive.to("meta"), None, moved, taps)


def test_without_triton_the_scans_are_those_of_torch_and_it_is_said(monkeypatch, caplog):
    monkeypatch.setattr(scan_triton, "triton", None)
    with caplog.at_level(logging.WARNING, logger="gradflow"):
        assert _scans_on_cuda.__wrapped__(torch.device("cuda")) is TORCH
    assert "Triton cannot be used on cuda (ModuleNotFoundError: No module named 'triton')" in caplog.text


def test_nothing_imports_triton_before_it_is_needed():
    code = (
        "import sys, torch, gradflow as gf; net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=4); "
        "net(torch.ones(3, 1, 2)).logits.sum().backward(); print('triton' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["False"]


@needs_triton
def test_the_kernels_compute_what_torch_computes():
    """Run tests/interpreted.py in a process whose Triton interprets its kernels on CPU."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/interpreted.py"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


KINDS = ("triangle", "rectangle", "exponential", "sigmoid", "arctangent", "multi-gaussian", "given")


@needs_triton
@pytest.mark.parametrize("capability", [75, 80, 90])
def test_the_kernels_compile_for_gpus(capability, tmp_path, monkeypatch):
    """To machine code, for every surrogate and dtype with all choices and with none; nothing is launched."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for element, choice in product(("*fp32", "*fp64"), (True, False)):
        forward = dict.fromkeys(("reads", "is_gated", "looks_ahead"), choice)
        compile_for(capability, scan_triton._advance, element, forward)
        back = dict.fromkeys(("attached", "has_direct", "has_arriving", "learns"), choice)
        for kind in KINDS:
            compile_for(capability, scan_triton._retreat, element, {**forward, **back, "kind": kind})


def compile_for(capability, kernel, element, choices):
    """Compile a kernel for a GPU that need not be here; sums are float64, counts int32."""
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    choices = {**choices, "elements": scan_triton.ELEMENTS}
    counts = ("size", "neurons", "steps", "following", "done", "weight_row", "weight_column")
    signature = {
        name: "constexpr"
        if name in choices
        else "i32"
        if name in counts
        else "*fp64"
        if name == "sums"
        else element
        for name in kernel.arg_names
    }
    constants = {(kernel.arg_names.index(name),): value for name, value in choices.items()}
    made = compile(
        ASTSource(kernel, signature, constants),
        target=GPUTarget("cuda", capability, 32),
        options={"enable_fp_fusion": False},
    )
    assert made.asm["cubin"]
    if element == "*fp32":
        assert "fma." not in made.asm["ptx"], "a contracted product rounds otherwise than torch's"


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TABLE)
def test_every_case_agrees_on_a_gpu(name, dtype):
    word = "fused cuda" if scan_triton.triton else "fused torch"
    agrees = check_agreement(
        TABLE[name], gf.engine.automatic, word, dtype=dtype, device="cuda", through_u=True
    )
    assert agrees or dtype == torch.float32


@needs_gpu
@given(networks())
def test_every_network_agrees_on_a_gpu(case):
    word = "fused cuda" if scan_triton.triton else "fused torch"
    assume(check_agreement(case, gf.engine.automatic, word, device="cuda"))


@needs_gpu
@pytest.mark.parametrize(("spans", "weights"), SPANS)
def test_spans_and_their_weights_on_a_gpu(spans, weights):
    """More elements than a program has threads; what threads of one program write and read is in step."""
    drive, V, dynamics = layer(batch=33)
    want, expected = gradients(gf.engine.reference, drive, V, dynamics, spans, weights)
    moved = replace(
        dynamics, **{key: value.cuda() for key, value in vars(dynamics).items() if key in COEFFICIENTS}
    )
    got, found = gradients(gf.engine.cuda, drive.cuda(), V.cuda(), moved, spans, weights)
    assert_equal(got.s, want.s)
    for a, b, name in zip(found, expected, ("drive", "V", "p"), strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-11 * float(b.abs().max()), why=f"order of sums, {name}")
