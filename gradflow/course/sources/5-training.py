# %% [markdown]
# # 5 · Training, and what the gradient does meanwhile
#
# **After this you can**
#
# - predict, before any training, which delays a network will learn;
# - train networks reproducibly, and read what a run has kept;
# - say what learning does to the decay rate, and why the simple theory loses track of it;
# - say what three seeds allow you to conclude, and what they do not.
#
# **Time**: about 60 minutes; the notebook itself runs about a minute and a half. **You need**: notebooks 1 to 3.
#
# So far all networks were fresh. A gradient that reaches back is worth nothing if nobody learns from it. Does it matter?

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import xarray as xr

import gradflow as gf
from gradflow import course
from gradflow.plots.learning import learning_curves

course.begin()
torch.set_num_threads(1)  # layers this small are fastest on one thread
runs_folder = Path(tempfile.mkdtemp())  # every run keeps its files here

# %% [markdown]
# ## 5.1 A task whose demand is known
#
# **Delayed recall**: one of four inputs is lit for eight steps. Then noise: in each step of the wait, each input is lit by
# chance, one time in twenty. At the last step the cue lights up, and the network must name the class. The answer depends on
# inputs at least `delay` steps back, and on nothing else. The loss is on the last step.
#
# **Predict.** Which share of a test split does a *fresh* network name right, in percent?

# %% tags=["prediction"]
blind = course.predict(25, what="right answers of a fresh network", unit="%")


# %%
def recall(delay, seed=0):
    """Return the task: its data depend on the seed."""
    return gf.tasks.delayed_recall(
        delay, shown=8, noise=0.05, examples=course.size(1000, 100), data_seed=seed
    )


example = recall(32)
shown = example.sample(1, seed=3)
test = example.part(gf.Split.TEST)
everything = test.batch(range(len(test)))
fresh = gf.RecurrentSNN(example, hidden=32, readout="last")
with torch.no_grad():
    right = float(example.objective.correct(fresh(everything.inputs), everything.targets).double().mean())

fig, (left, bar) = plt.subplots(1, 2, figsize=(8.4, 3.0), width_ratios=(4, 1))
left.imshow(shown.inputs[:, 0].numpy().T, aspect="auto", cmap="Greys", interpolation="nearest")
left.set_yticks(range(5), ["class 0", "class 1", "class 2", "class 3", "cue"])
left.set(xlabel="time $t$  (steps)", title=f"Delay {example.memory_demand}: which class was it?")
left.grid(False)
bar.bar([0], [100 * right], color="0.7", width=0.5)
bar.set(ylim=(0, 100), xlim=(-0.6, 0.6), ylabel="right  (%)", title="fresh")
bar.set_xticks([])
blind.draw(bar, at=0)
course.say(blind.against(100 * right))

# %% [markdown]
# ## 5.2 How far does a fresh network see?
#
# A gradient that falls by a fixed rate per step, $\lVert\partial u[T]/\partial u[T-n]\rVert \propto e^{\text{rate}\cdot n}$,
# reaches a given level after some number of steps: its **horizon**. As a level we take a thousandth; below, a gradient is
# lost among the noise of a mini-batch. That is a convention, and no number of this notebook was used to choose it.
#
# ### Exercise 1 ★ From rate to horizon
#
# Write `horizon(rate, level)`, in steps.


# %% tags=["solution"]
def horizon(rate, level):
    """Return n with exp(rate · n) = level."""
    return np.log(level) / rate


# %% tags=["check"]
course.check("reach", horizon)

# %% [markdown]
# **Predict.** A vanilla layer ($\lambda = 1$) sees about a dozen steps here. How far do $\lambda = 4$ and $\lambda = 8$ see?
# Type three horizons.

# %% tags=["prediction"]
seen = course.predict([13, 52, 104], what="horizons of λ = 1, 4, 8", unit="steps")

# %%
SPANS = (1, 4, 8)
SEEDS = range(course.size(2, 1))
far = gf.tasks.delayed_recall(course.size(128, 96), shown=8, noise=0.05, examples=100)
curves, horizons = {}, {}
for span in SPANS:
    for seed in SEEDS:
        net = gf.RecurrentSNN(far, 32, gf.Skip(span), readout="last", seed=seed)
        local = gf.local_jacobians(net, far.sample(4))
        predicted = gf.theory.transfer_operator(local)  # forward statistics only, no training
        horizons[span, seed] = gf.horizon_at(predicted).horizon.item()
        curves.setdefault(span, gf.jacobian_products(local, norms=("frobenius",)).isel(layer=0, drop=True))
expected = {span: np.mean([horizons[span, seed] for seed in SEEDS]) for span in SPANS}

stacked = xr.concat(
    [curves[span].drop_vars(["p", "span"]) for span in SPANS], dim="span", combine_attrs="drop"
).assign_coords(span=list(SPANS))
fig, ax = plt.subplots()
artists = gf.plots.decay_curves(stacked, ax=ax, label="λ = {value}", envelopes=True)
level = np.log10(np.sqrt(32)) - 3
ax.axhline(level, color="0.5", linestyle=":", linewidth=1)
ax.text(100 * course.size(1, 0.7), level + 0.1, "a thousandth", color="0.3", fontsize=9)
seen.draw(ax, at=[level] * 3, along="x")
ax.set(ylim=(-6, 1.2), title="Before training")
guess = [line for line in ax.lines if line.get_label() == "your prediction"]
ax.legend([*artists.envelopes.values(), *guess], [*artists.envelopes, *(g.get_label() for g in guess)])
course.say(seen.against(list(expected.values())))

# %% [markdown]
# It grows with the span, but not quite in proportion: the vanilla layer has some help from the neuron path, the potential's
# own memory.
#
# ## 5.3 Does the horizon decide what can be learned?
#
# A run is described by a **configuration**: every choice in one place, defaults for the rest. `train` writes the
# configuration, the log and the weights into a folder; what is random comes from named seeds, so the same configuration
# gives the same network again.


# %%
def recurrence(span):
    """Return the word of the configuration for a span."""
    return "vanilla" if span == 1 else f"skip:{span}"


def train_recall(span, delay, seed):
    """Train one small network on one delay; return its summary."""
    config = gf.train.resolve(
        {
            "task": {
                "name": "delayed-recall",
                "options": {
                    "delay": delay,
                    "shown": 8,
                    "noise": 0.05,
                    "examples": course.size(1000, 100),
                    "data_seed": seed,
                },
            },
            "network": {"hidden": (32,), "recurrence": recurrence(span), "readout": "last", "seed": seed},
            "optimiser": {"lr": 3e-3},
            "training": {"epochs": course.size(10, 1), "batch": 50, "seed": seed, "device": "cpu"},
            "watch": {"every": 0},
            "logging": {"tensorboard": False},
        }
    )
    return gf.train.train(config, runs_folder / f"recall-{span}-{delay}-{seed}")


# %% [markdown]
# Four delays: 8, 16, 32 and 64 steps. All trainings are the same but for span, delay and seed: 200 updates each. We say
# that a delay is learned if more than 62.5 % are right in the mean over the networks, halfway from chance to all.
#
# **Predict.** The longest of the four delays that each span learns: $\lambda = 1, 4, 8$. Use the horizons above.

# %% tags=["prediction"]
longest = course.predict([8, 16, 32], what="the longest delay learned with λ = 1, 4, 8", unit="steps")

# %%
DELAYS = course.size((8, 16, 32, 64), (8, 16))
accuracy = xr.DataArray(
    [
        [[train_recall(span, delay, seed).test_accuracy for seed in SEEDS] for delay in DELAYS]
        for span in SPANS
    ],
    {"span": list(SPANS), "delay": list(DELAYS), "seed": list(SEEDS)},
    ("span", "delay", "seed"),
)
learned = {}
for span in SPANS:
    good = accuracy.sel(span=span).mean("seed") > 0.625
    learned[span] = max([int(delay) for delay in DELAYS if good.sel(delay=delay)], default=0)

fig, ax = plt.subplots()
colours = gf.plots.ordered_colours(len(SPANS))
for place, span in enumerate(SPANS):
    shares = 100 * accuracy.sel(span=span)
    ax.plot(
        DELAYS,
        shares.mean("seed"),
        color=colours[place],
        label=f"λ = {span}",
        linestyle=("-", "--", "-.")[place],
    )
    ax.plot(DELAYS, shares, "o^s"[place], color=colours[place], alpha=0.6, markersize=5)
    ax.plot(
        [expected[span]], [62.5], "D", color=colours[place], markersize=9, markeredgecolor="white", zorder=4
    )
ax.plot([], [], "D", color="0.3", label="predicted horizon")
ax.axhline(62.5, color="0.5", linestyle="--", linewidth=0.9)
ax.axhline(25, color="0.5", linestyle=":", linewidth=0.9)
longest.draw(ax, at=[62.5] * 3, along="x")
ax.set_xscale("log", base=2)
ax.set_xticks(DELAYS, [str(delay) for delay in DELAYS])
ax.set(
    xlabel="delay  (steps)",
    ylabel="right answers in the test split  (%)",
    ylim=(0, 104),
    title="What is learned",
)
ax.legend(loc="lower left")
course.say(longest.against([float(learned[span]) for span in SPANS]))
course.say(
    "Predicted from the fresh network, then learned: "
    + "; ".join(f"λ = {span}: {expected[span]:.0f}, learned {learned[span]}" for span in SPANS)
    + f" (of the delays {', '.join(map(str, DELAYS))}; {len(SEEDS)} networks each)."
)

# %% [markdown]
# The diamonds were drawn before a single weight had moved. With a grid as coarse as this (each delay twice the one before)
# they can only be right within a factor of two, and that is all one may claim. The picture book (figure `memory-horizon`)
# does it with a finer grid, wider spans and three seeds, and comes to the same: within a factor of two, for spans from 1 to
# 32, with nothing fitted.
#
# ## 5.4 Digits, a pixel at a time
#
# Now real data: handwritten digits, averaged to 7 × 7 pixels and read in rows, **49 steps** of one number. One layer of 64
# neurons, six epochs. Here nobody knows the demand. But look at the image: a row is seven steps long, so a span of 7 reads
# what the layer did one pixel *above*.
#
# **Predict.** Right answers in the test split, in percent, for $\lambda = 1, 4, 7$. (Chance is 10 %.)

# %% tags=["prediction"]
digits_guess = course.predict([30, 50, 60], what="right digits with λ = 1, 4, 7", unit="%")


# %%
def train_digits(span, seed):
    """Train one network on small digits, and look at its gradient after every epoch."""
    config = gf.train.resolve(
        {
            "task": {"name": "smnist", "options": {"pool": 4}},
            "network": {"hidden": (course.size(64, 16),), "recurrence": recurrence(span), "seed": seed},
            "optimiser": {"lr": 1e-2},
            "training": {"epochs": EPOCHS, "batch": course.size(50, 500), "seed": seed, "device": "cpu"},
            "watch": {"every": 1, "samples": 4, "budget": 1e6},  # look, whatever it costs
            "logging": {"tensorboard": False},
        }
    )
    folder = runs_folder / f"digits-{span}-{seed}"
    return gf.train.train(config, folder), folder


EPOCHS = course.size(6, 2)
DIGIT_SPANS, DIGIT_SEEDS = (1, 4, 7), range(course.size(3, 2))
runs = {(span, seed): train_digits(span, seed) for span in DIGIT_SPANS for seed in DIGIT_SEEDS}
tested = np.array([[100 * runs[span, seed][0].test_accuracy for seed in DIGIT_SEEDS] for span in DIGIT_SPANS])
validated = xr.DataArray(
    [
        [pd.read_csv(runs[span, seed][1] / "log.csv").validation_accuracy.tolist() for seed in DIGIT_SEEDS]
        for span in DIGIT_SPANS
    ],
    {"span": list(DIGIT_SPANS), "epoch": range(1, EPOCHS + 1)},
    ("span", "seed", "epoch"),
)


def over_seeds(values):
    """Return mean, worst and best over the networks."""
    return xr.Dataset({"centre": values.mean("seed"), "low": values.min("seed"), "high": values.max("seed")})


fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True)
learning_curves(over_seeds(validated), ax=left, label="λ = {value}")
left.axhline(10, color="0.5", linestyle=":", linewidth=0.9)
left.set(ylabel="right answers  (%)", title="validation, after each epoch")
left.legend()
for place, row in enumerate(tested):
    right.plot([place] * len(row), row, "o", color="black", alpha=0.6)
right.set_xticks(range(3), [f"λ = {span}" for span in DIGIT_SPANS])
right.set(xlim=(-0.5, 2.5), title="test, at the end")
digits_guess.draw(right, at=range(3))
course.say(digits_guess.against(tested.mean(axis=1)))

# %% [markdown]
# Read the picture as a sceptic. The learning rate was picked by trying two values on one seed. The networks are tiny and
# stop early: with the preset `quick` (three layers, 196 steps, 20 epochs) every recurrence learns far more, as the figure
# `training-curves` of the picture book shows. What you may take along is the *order*, and even that only if it survives 5.6.
#
# ## 5.5 What the gradient does meanwhile
#
# After each epoch the run has measured the Jacobian products of its layer on four training digits, and kept the rate.
#
# **Predict.** Training makes the rate of $\lambda = 7$ … times what it was? (2: it decays twice as fast; 0.5: half as fast.)

# %% tags=["prediction"]
change = course.predict(1.0, what="rate after training / rate before, λ = 7")

# %%
watched = xr.concat(
    [
        xr.concat(
            [
                gf.load(runs[span, seed][1] / "gradients.nc")[["rate", "rate_mean_square"]].isel(
                    layer=0, drop=True
                )
                for seed in DIGIT_SEEDS
            ],
            dim="seed",
        )
        for span in DIGIT_SPANS
    ],
    dim="span",
).assign_coords(span=list(DIGIT_SPANS))
drawn = xr.Dataset(
    {
        "rate": watched.rate.mean("seed"),
        "rate_low": watched.rate.min("seed"),
        "rate_high": watched.rate.max("seed"),
        "rate_mean_square": watched.rate_mean_square.mean("seed"),
    }
)
fig, ax = plt.subplots()
gf.plots.rates_over_epochs(drawn, ax=ax, label="λ = {value}")
before = float(drawn.rate.sel(span=7).isel(epoch=0))
change.draw(ax, at=EPOCHS, scale=lambda guess: before * guess)
ax.axhline(0, color="0.4", linewidth=0.8)
ax.set_title("Thick: measured. Thin: the mean square, from the same network's moments")
ax.legend(loc="center left")
ratio = watched.rate.isel(epoch=-1).mean("seed") / watched.rate.isel(epoch=0).mean("seed")
course.say(change.against(float(ratio.sel(span=7))))
course.say(
    "After / before: "
    + ", ".join(f"λ = {span}: {float(ratio.sel(span=span)):.2f}" for span in DIGIT_SPANS)
    + "."
)

# %% [markdown]
# Learning slows the decay down. Nobody told it to: the loss rewards what can use earlier steps. And the thin lines, the
# mean square from the *same* network's moments, do not follow. What did it miss? It knows of $V$ only its average size. Look
# at a trained $V$: its gain $g = \lVert V\rVert_F/\sqrt H$, and its largest singular value, both 1 before training.
#
# **Predict.** The largest singular value of $V$ after training ($\lambda = 7$, network 0).

# %% tags=["prediction"]
largest = course.predict(1.2, what="largest singular value of V after training")

# %%
rows = [
    "| λ | gain of V | largest singular value | measured rate | mean square | transfer operator |",
    "|---|---|---|---|---|---|",
]
values = {}
for span in DIGIT_SPANS:
    session = gf.train.load_run(runs[span, 0][1])  # the weights of its best epoch
    trained = session.spiking.eval()
    local = gf.local_jacobians(trained, session.task.sample(course.size(8, 2)))
    products = gf.jacobian_products(local, norms=("frobenius",))
    V = trained.recurrent_layers()[0].V.detach().numpy()
    values[span] = np.linalg.svd(V, compute_uv=False)
    numbers = (
        np.linalg.norm(V) / np.sqrt(len(V)),
        values[span][0],
        gf.fit_decay(products).rate.item(),
        gf.theory.mean_square(products).rate.item(),
        gf.theory.transfer_operator(local).rate.item(),
    )
    rows.append(f"| {span} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |")
fig, ax = plt.subplots()
for place, span in enumerate(DIGIT_SPANS):
    ax.plot(np.arange(1, len(values[span]) + 1), values[span], color=colours[place], linestyle=("-", "--", "-.")[place],
            label=f"λ = {span}")  # fmt: skip
ax.axhline(1, color="0.5", linestyle=":", linewidth=1, label="fresh: all are 1")
largest.draw(ax, at=1)
ax.set(xlabel="singular value of $V$, by size", ylabel="size", title="Training makes a few directions strong")
ax.legend()
course.say(largest.against(float(values[7][0])))
course.say("\n".join(rows))

# %% [markdown]
# A few directions have become strong, and gradients go along them: more reaches back than an average matrix of that size
# would let through. The transfer operator reads the $V$ there is and sees most of it. It predicts the decay of the *average*
# product, which a few lucky sequences dominate, so on trained networks it tends to be too slow; it is nearer than the mean
# square, not exact.
#
# ## 5.6 What three seeds allow you to say
#
# Three networks of each kind, and one order. Could it be luck?
#
# ### Exercise 2 ★ By luck alone
#
# Two recurrences that are in truth *equally good*, compared with the same $n$ seeds: each seed is a coin. Write
# `by_luck(n)`, the chance that all $n$ comparisons come out the same way (either way).


# %% tags=["solution"]
def by_luck(n):
    """Return the chance that n fair coins all agree."""
    return 2 * 0.5**n


# %% tags=["check"]
course.check("by-luck", by_luck)

# %% [markdown]
# ### Exercise 3 ★★ The test set is finite too
#
# Even one network is not known exactly: 500 test digits are a sample. Write `standard_error(share, count)`.


# %% tags=["solution"]
def standard_error(share, count):
    """Return √(p (1 − p) / n)."""
    return np.sqrt(share * (1 - share) / count)


# %% tags=["check"]
course.check("sampling-error", standard_error)

# %% [markdown]
# ### Exercise 4 ★★ An interval over seeds
#
# Write `interval(values)`: low and high end of the 95 % interval of the mean, by Student's $t$. (`scipy.stats.t.ppf`.)


# %% tags=["solution"]
def interval(values):
    """Return mean ± t s/√n."""
    from scipy import stats

    n = len(values)
    half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return np.mean(values) - half, np.mean(values) + half


# %% tags=["check"]
course.check("interval", interval)

# %% [markdown]
# Networks of the same seed begin with the same weights and see the same digits in the same order, so we compare them **pair
# by pair**. **Predict.** Of the three comparisons (4 with 1, 7 with 1, 7 with 4), how many intervals exclude 0?

# %% tags=["prediction"]
excluded = course.predict(3, what="comparisons whose interval excludes zero", unit="of 3")

# %%
pairs = {"4 − 1": tested[1] - tested[0], "7 − 1": tested[2] - tested[0], "7 − 4": tested[2] - tested[1]}
fig, ax = plt.subplots()
clear = 0
for place, differences in enumerate(pairs.values()):
    mean, low, high = map(float, gf.analysis.student_interval(differences))
    clear += low > 0 or high < 0
    ax.plot(
        [low, high],
        [place, place],
        color="0.6",
        linewidth=3,
        label="95 % interval of the mean" if place == 0 else "_",
    )
    ax.plot(
        differences, [place] * len(differences), "o", color="black", label="one pair" if place == 0 else "_"
    )
    ax.plot([mean], [place], "|", color="black", markersize=16)
ax.axvline(0, color="0.4", linewidth=0.9)
ax.set_yticks(range(3), [f"λ = {name}" for name in pairs])
ax.set(xlabel="difference in right answers  (points)", title=f"{len(DIGIT_SEEDS)} seeds", ylim=(-0.6, 2.9))
ax.legend(loc="upper right")
course.say(excluded.against(float(clear)))
told = []
for name, differences in pairs.items():
    mean, low, high = map(float, gf.analysis.student_interval(differences))
    told.append(f"λ {name}: {mean:.1f} points, {low:.1f} … {high:.1f}")
course.say(
    "; ".join(told)
    + f". By luck alone all {len(DIGIT_SEEDS)} pairs agree {2 * 0.5 ** len(DIGIT_SEEDS):.0%} of the time."
)
unit = np.array([-1.0, 1.0, *np.zeros(len(DIGIT_SEEDS) - 2)])
unit /= unit.std(ddof=1)  # a spread s of 1
wide = float(gf.analysis.student_interval(unit)[2])
course.say(
    f"With {len(DIGIT_SEEDS)} seeds the interval of a spread $s$ reaches {wide:.1f} $s$ to either side."
)

# %% [markdown]
# That is the honest price of few seeds. And what no number of seeds would mend: one task, one size, one learning rate,
# chosen by us.
#
# ### Exercise 5 ★★★ How many seeds?
#
# Write `seeds_needed(difference, spread)`: the smallest number of pairs $n \ge 2$ whose 95 % half-width
# $t_{0.975,\,n-1}\, s/\sqrt n$ is no larger than the difference you want to see.


# %% tags=["solution"]
def seeds_needed(difference, spread):
    """Return the smallest n with t s/√n ≤ difference."""
    from scipy import stats

    n = 2
    while stats.t.ppf(0.975, n - 1) * spread / np.sqrt(n) > difference:
        n += 1
    return n


# %% tags=["check"]
course.check("seeds-needed", seeds_needed)

# %% [markdown]
# **Play.** How many networks does it take to see a true difference of 5 points when pairs scatter by 4? And how often do
# three networks show a difference where there is none?

# %% tags=["sliders"]
course.explore_seeds()

# %% [markdown]
# ## Questions
#
# 1. In 5.3 two delays next to each other differ by a factor of two. Which finer experiment would tell a horizon of 32 from
#    one of 45?
# 2. With logits summed over time, as on the digits, the loss feeds every step directly. Why may the *Jacobian product* be
#    looked at all the same?
# 3. The mean-square rate hardly moves while the measured one halves. Which number about $V$ would you add to the theory?
# 4. Someone reports that an adaptive span beats a fixed one by half a point, one seed each. What do you ask for?
# 5. Horizon long, accuracy poor: give two reasons that have nothing to do with the gradient.
#
# ## Further reading
#
# - Bengio, Simard & Frasconi 1994, *Learning long-term dependencies with gradient descent is difficult*. Networks that latch
#   information safely have gradients that vanish.
# - Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*,
#   [arXiv:1211.5063](https://arxiv.org/abs/1211.5063). Bounds on singular values say when gradients vanish, and when they may
#   explode.
# - Le, Jaitly & Hinton 2015, *A simple way to initialize recurrent networks of rectified linear units*,
#   [arXiv:1504.00941](https://arxiv.org/abs/1504.00941). Digits read pixel by pixel as a test of long memory.
# - Bouthillier et al. 2021, *Accounting for variance in machine learning benchmarks*,
#   [arXiv:2103.03098](https://arxiv.org/abs/2103.03098). Seeds, data order and hyperparameters all make results vary, and
#   comparisons should count all of them.
# - *ASRC-SNN: Adaptive skip recurrent connection spiking neural network*, 2025,
#   [arXiv:2505.11455](https://arxiv.org/abs/2505.11455). Skip recurrences improve long-term temporal modelling over vanilla
#   ones.
#
# **Next**: [6 · Your own network](6-your-network.ipynb).
