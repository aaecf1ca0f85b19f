# %% [markdown]
# # 6 · Your own network
#
# **After this you can**
#
# - measure how the gradient vanishes in any recurrent network: PyTorch's, another library's, your own cell;
# - find the layer that starves, and say of what;
# - choose span, gain and surrogate by rules, and check whether the rule held;
# - make the figure, save it with its data, and say what its numbers do not mean.
#
# **Time**: about 60 minutes. **You need**: notebooks 1 to 3; 5 helps.
#
# Everything so far was measured on *our* networks. Nothing depends on that. All analysis starts from one thing, the
# **transition**: the local Jacobians of a run, as arrays. Whatever gives you these gives you all the rest.

# %%
import tempfile
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr
from torch.func import jacrev, vmap

import gradflow as gf
from gradflow import course

course.begin()
torch.set_num_threads(1)  # layers this small are fastest on one thread

# %% [markdown]
# ## 6.1 PyTorch's own: RNN, GRU, LSTM
#
# `torch_transition` takes a module apart and returns $J[t] = \partial h[t+1]/\partial h[t]$ of every step. From there on it
# is notebook 2: products, curves, a rate.
#
# **Predict.** A fresh tanh RNN of PyTorch loses about half a nat per step. And a fresh LSTM, the network that was invented against
# vanishing gradients?

# %% tags=["prediction"]
lstm = course.predict(-0.05, what="the rate of a fresh LSTM", unit="nats per step")

# %%
task = gf.tasks.psmnist(pool=2)  # permuted digits, 196 steps
digits = task.sample(course.size(4, 2))
H = course.size(32, 16)
LAGS = course.size(96, 48)
STATE_NORM = r"$\log_{10}\,\|\,\partial h[T]\,/\,\partial h[t]\,\|_F$"

products = {}
for kind in (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM):
    torch.manual_seed(0)
    local = gf.adapters.torch_transition(kind(1, H), digits.inputs, last=LAGS)
    products[kind.__name__] = gf.jacobian_products(local, norms=("frobenius",))


def together(products):
    """Return the curves of several networks along one dimension, `which`."""
    parts = [each[["log_frobenius"]].isel(layer=0, drop=True) for each in products.values()]
    return xr.concat(parts, dim="which", combine_attrs="drop").assign_coords(which=list(products))


fig, ax = plt.subplots()
artists = gf.plots.decay_curves(together(products), ax=ax, label="{value}")
rates = {name: gf.fit_decay(each).rate.item() for name, each in products.items()}
start = float(gf.curve_band(products["LSTM"]).centre[0, 0]) / np.log(10)
lstm.draw_slope(ax, (0, start), LAGS, scale=1 / np.log(10))
ax.set(title="Fresh networks of PyTorch", ylabel=STATE_NORM)
ax.legend()
course.say(lstm.against(rates["LSTM"]))
course.say("Rates: " + ", ".join(f"{name} {rate:.3f}" for name, rate in rates.items()) + " nats per step.")

# %% [markdown]
# Surprised? PyTorch starts the forget gate at about $\sigma(0) = \tfrac12$: the memory of a *fresh* LSTM halves with each
# step. The gate **can** learn to stay open. It does not begin so. (That is why one often starts its bias at 1 or more.)
#
# ## 6.2 Your own cell
#
# Any recurrent network is a function from input and state to the next state, $h[t] = f(x[t], h[t-1])$. Its Jacobian is one
# call of automatic differentiation.
#
# ### Exercise 1 ★★★ Jacobians of anything
#
# Write `jacobians(step, x, h)`: run `step(x[t], h)` over all steps of one sequence, from the state `h` before the first,
# and return $J[t] = \partial h[t+1]/\partial h[t]$ for $t = 0 \dots T-2$, an array (time − 1, state, state). Here $h[0]$ is
# the state *after* the first input. (`torch.func.jacrev`.)


# %% tags=["solution"]
def jacobians(step, x, h):
    """Return the Jacobians of all steps after the first."""
    h, found = step(x[0], h), []
    for now in x[1:]:
        found.append(jacrev(step, argnums=1)(now, h))
        h = step(now, h)
    return torch.stack(found)


# %% tags=["check"]
course.check("jacobians", jacobians)

# %% [markdown]
# As an example: a leaky integrate-and-fire layer, written from scratch. Its state is the potential after the reset *and* the
# last spikes. The surrogate is the usual trick, forward the step, backward the slope of the smooth twin.
#
# Then a second one, with an **adaptive threshold**: each spike raises the neuron's threshold, which sinks back slowly
# (factor $\rho = 0.95$). gradflow has no such neuron. You do not need one.

# %%
torch.manual_seed(1)
W = torch.rand(H, 1, dtype=torch.float64) * 2 - 1
b = torch.rand(H, dtype=torch.float64) * 2 - 1
V, _ = torch.linalg.qr(torch.randn(H, H, dtype=torch.float64))
twin = gf.Triangle().twin


def fire(x):
    """Return spikes whose derivative is the triangle's."""
    soft = twin(x)
    return (x >= 0).to(x) + soft - soft.detach()


def lif(now, state):
    """Return (v, s) after one step of a vanilla recurrent LIF layer."""
    v, s = state.chunk(2)
    u = 0.5 * v + W @ now + b + V @ s
    s = fire(u - 1.0)
    return torch.cat([u - s, s])


def adaptive(now, state):
    """Return (v, s, z): as `lif`, with a threshold 1 + 0.5 z that spikes raise."""
    v, s, z = state.chunk(3)
    u = 0.5 * v + W @ now + b + V @ s
    threshold = 1.0 + 0.5 * z
    s = fire(u - threshold)
    return torch.cat([u - threshold * s, s, 0.95 * z + s])


# %% tags=["hide-input"]
def transition(step, inputs, size):
    """Return the Jacobians of many sequences at once, as gradflow takes them."""
    h = torch.zeros(inputs.shape[1], size, dtype=torch.float64)
    states = []
    for now in inputs.double():
        h = vmap(step)(now, h)
        states.append(h)
    trajectory = torch.stack(states)
    kept = slice(len(inputs) - 1 - LAGS, None)
    now, before = inputs.double()[1:][kept], trajectory[:-1][kept]
    at = vmap(jacrev(step, argnums=1))(now.flatten(0, 1), before.flatten(0, 1))
    return gf.Transition((gf.DenseTransition(at.reshape(*before.shape, size).numpy()),))


# %% [markdown]
# **Predict.** The threshold sinks back by only 5 % a step: a slow variable. What is the rate of the adaptive layer?
# (The plain one loses more than half a nat per step.)

# %% tags=["prediction"]
slow = course.predict(-0.25, what="the rate with an adaptive threshold", unit="nats per step")

# %%
own = {}
for name, step, size in (("LIF, from scratch", lif, 2 * H), ("adaptive threshold", adaptive, 3 * H)):
    own[name] = gf.jacobian_products(transition(step, digits.inputs, size), norms=("frobenius",))

# the same plain layer in gradflow, with the same weights
ours = gf.RecurrentSNN(task, hidden=H, dtype=torch.float64)
layer = ours.recurrent_layers()[0]
with torch.no_grad():
    layer.linear.weight.copy_(W)
    layer.linear.bias.copy_(b)
    layer.V.copy_(V)
checked = gf.jacobian_products(ours, digits, norms=("frobenius",)).isel(lag=slice(0, LAGS + 1))

fig, ax = plt.subplots()
artists = gf.plots.decay_curves(together({**own, "LIF, gradflow": checked}), ax=ax, label="{value}")
own_rates = {name: gf.fit_decay(each).rate.item() for name, each in {**own, "gradflow": checked}.items()}
start = float(gf.curve_band(own["adaptive threshold"]).centre[0, 0]) / np.log(10)
slow.draw_slope(ax, (0, start), LAGS, scale=1 / np.log(10))
ax.set(title="Cells that gradflow does not know", ylabel=STATE_NORM)
ax.legend()
course.say(slow.against(own_rates["adaptive threshold"]))
course.say(
    f"The plain layer from scratch decays at {own_rates['LIF, from scratch']:.4f}, gradflow's own at "
    f"{own_rates['gradflow']:.4f} nats per step. The states differ (potential and spikes here, potential there), so "
    f"the norms do; the rates must agree, and they do. The threshold's own factor is log 0.95 = {np.log(0.95):.4f}."
)

# %% [markdown]
# A slow variable is a neuron path: it carries a gradient at its own rate, whatever the recurrence does.
#
# **Optional: snnTorch.** Its neurons are functions of input and state as well. The cell below runs where snnTorch is
# installed (`pip install snntorch`) and is skipped elsewhere. Note that snnTorch *detaches* the reset, which
# is another network (notebook 1)!

# %%
if find_spec("snntorch") is None:
    course.say("snnTorch is not installed here; everything else runs without it.")
else:
    import snntorch

    cell = snntorch.Leaky(beta=0.5, reset_mechanism="subtract", init_hidden=False)

    def peer(now, state):
        """Return (mem, spk) after one step of a layer of snnTorch's neurons."""
        mem, spk = state.chunk(2)
        spk, mem = cell(W @ now + b + V @ spk, mem)
        return torch.cat([mem, spk])

    h, found = torch.zeros(2 * H, dtype=torch.float64), []
    for now in digits.inputs[: LAGS + 1, 0].double():
        # torch.func cannot look into the library's own spike function; the older way can
        found.append(torch.autograd.functional.jacobian(lambda state, now=now: peer(now, state), h))
        h = peer(now, h).detach()
    local = gf.Transition((gf.DenseTransition(torch.stack(found[1:])[:, None].numpy()),))
    rate = gf.fit_decay(gf.jacobian_products(local)).rate.item()
    course.say(f"snnTorch's Leaky, reset detached: {rate:.3f} nats per step.")

# %% [markdown]
# ## 6.3 Which layer starves?
#
# Now a real patient: three layers of 64 spiking neurons, vanilla, fresh, on permuted digits. With a loss on the last step,
# how much of it arrives at the *first* step, in each layer? (In float64; float32 would show zeros.)
#
# **Predict.** Which layer gets the least: 0 (lowest), 1 or 2 (highest, next to the loss)?

# %% tags=["prediction"]
hungry = course.predict(0, what="the layer that gets the least gradient at the first step")


# %%
WIDE = course.size(64, 24)


def patient(**changes):
    """Return the network, with what is changed in it."""
    settings = {"hidden": (WIDE, WIDE, WIDE), "dtype": torch.float64, **changes}
    return gf.RecurrentSNN(task, **settings)


def examine(net):
    """Return log-norms of the loss gradient (layer, time), the products, and activity per layer."""
    record = gf.record(net, digits, loss_placement="last")
    with np.errstate(divide="ignore"):  # exactly 0 is −∞
        logs = np.log(record.grad_u).median("sample")
    products = gf.jacobian_products(net, digits, norms=("frobenius",))
    return logs, products, record[["firing_rate", "window"]].mean(["time", "sample"])


logs, sick, activity = examine(patient())
fig, ax = plt.subplots(figsize=(6.8, 3.0))
gf.plots.records.gradient_map(logs, ax=ax)
hungry.draw(ax)
ax.set_title("What of a loss on the last step arrives where")
at_first = logs.isel(time=0).values / np.log(10)
course.say(hungry.against(float(np.argmin(at_first))))
course.say(
    "At the first step: "
    + ", ".join(f"layer {k} $10^{{{power:.0f}}}$" for k, power in enumerate(at_first))
    + "."
)

# %% [markdown]
# ### Exercise 2 ★ Say it in code
#
# Write `starving(logs)`: from log-norms (layer, time) to the layer that gets the least at the first step.


# %% tags=["solution"]
def starving(logs):
    """Return the index of the smallest log-norm at step 0."""
    return int(np.argmin(logs[:, 0]))


# %% tags=["check"]
course.check("starving", starving)

# %% [markdown]
# The layer **next to the loss** is worst off. A gradient that comes down to a lower layer may travel back in time there,
# where more comes through. So: what does the upper layer lack? Here is its chart.

# %%
fit = gf.fit_decay(sick)
gain = sick.V_frobenius / np.sqrt(sick.neurons)
rows = [
    "| layer | fires (% of steps) | in the window (%) | E[a²] | E[φ²] | gain g | rate | horizon |",
    "|" + "---|" * 8,
]
for k in range(3):
    part = sick.isel(layer=k)
    rows.append(
        f"| {k} | {100 * float(activity.firing_rate[k]):.2f} | {100 * float(activity.window[k]):.0f} | "
        f"{float(part.a_square.mean()):.3f} | {float(part.phi_square.mean()):.3f} | {float(gain[k]):.2f} | "
        f"{float(fit.rate[k]):.3f} | {float(fit.horizon[k]):.0f} |"
    )
course.say("\n".join(rows))

# %% [markdown]
# Read the chart from left to right. The upper layers hardly **fire**: nothing drives them. Their potentials stay far below
# the threshold, at the edge of the window, where the triangle $\varphi$ is small: look at $\mathrm{E}[\varphi^2]$. So each
# recurrent hop costs more. Starved of spikes below, starved of gradient above.
#
# ## 6.4 Rule one: the span
#
# The first pixel may matter: a **demand** of 195 steps. The mean-square recursion says which span is enough,
# from $\mathrm{E}[a^2]$ and $g^2\,\mathrm{E}[\varphi^2]$ of the chart.
#
# ### Exercise 3 ★★ The smallest span
#
# Write `smallest(demand, a_square, gain_square)`: the smallest $\lambda$ whose predicted horizon,
# `gf.theory.predicted_horizon(a_square, gain_square, [span], [1.0])`, is at least the demand.


# %% tags=["solution"]
def smallest(demand, a_square, gain_square):
    """Return the smallest span that is enough."""
    span = 1
    while gf.theory.predicted_horizon(a_square, gain_square, [span], [1.0]) < demand:
        span += 1
    return span


# %% tags=["check"]
course.check("span-rule", smallest)

# %% [markdown]
# **Predict.** Which spans do the three layers need, from the lowest to the highest?

# %% tags=["prediction"]
needed = course.predict([16, 16, 16], what="spans of layers 0, 1, 2", unit="steps")

# %%
DEMAND = course.size(195, 60)
spans = []
for k in range(3):
    part = sick.isel(layer=k)
    carried = float(gain[k]) ** 2 * float(part.phi_square.mean())
    spans.append(gf.theory.smallest_span(DEMAND, float(part.a_square.mean()), carried))
treated_logs, treated, _ = examine(patient(recurrence=[gf.Skip(span) for span in spans]))
reached = gf.fit_decay(treated).horizon.values

fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4))
left.bar(range(3), spans, color="0.7", width=0.6)
needed.draw(left, at=range(3))
left.set_xticks(range(3))
left.set(xlabel="layer", ylabel="span by the rule  (steps)")
right.bar(np.arange(3) - 0.2, fit.horizon.values, color="0.8", width=0.4, label="vanilla")
right.bar(np.arange(3) + 0.2, reached, color="0.45", width=0.4, label="with these spans")
right.axhline(DEMAND, color="black", linestyle=":", label="demand")
right.set_xticks(range(3))
right.set(xlabel="layer", ylabel="measured horizon  (steps)", ylim=(0, 1.7 * DEMAND))
right.legend(loc="upper right")
course.say(needed.against([float(span) for span in spans]))
first = treated_logs.isel(time=0).values / np.log(10)
course.say(
    f"Measured with these spans: horizons of {', '.join(f'{value:.0f}' for value in reached)} steps for a demand of "
    f"{DEMAND}, the worst layer {min(reached) / DEMAND - 1:+.0%}. At the first step there is now "
    + ", ".join(f"$10^{{{power:.0f}}}$" for power in first)
    + f" of the loss's gradient instead of {', '.join(f'$10^{{{power:.0f}}}$' for power in at_first)}."
)

# %% [markdown]
# The rule is a mean-square rule and shares its errors (notebook 3). **Measure again after every change**; if it falls
# short, take a span a little wider.
#
# ## 6.5 Rule two: the gain
#
# One can also make $V$ larger. At which gain does the mean square neither grow nor shrink?
#
# ### Exercise 4 ★★ The critical gain
#
# The largest root of $1 = \mathrm{E}[a^2]\, z^{-1} + g^2\, \mathrm{E}[\varphi^2]\, z^{-\lambda}$ is to be $z = 1$. Write
# `critical(a_square, phi_square)`, the $g$ that does it. (The span drops out!)


# %% tags=["solution"]
def critical(a_square, phi_square):
    """Return the gain at which the largest root is 1."""
    return np.sqrt((1 - a_square) / phi_square)


# %% tags=["check"]
course.check("gain-rule", critical)

# %% [markdown]
# **Predict.** We scale each layer's $V$ of the vanilla patient to its critical gain and measure again. The rate of the
# highest layer becomes … (the rule promises 0)

# %% tags=["prediction"]
promised = course.predict(0.0, what="the rate of layer 2 at its critical gain", unit="nats per step")

# %%
rule = gf.theory.critical_initialisation(sick)
scaled = patient()
with torch.no_grad():
    for k, layer in enumerate(scaled.recurrent_layers()):
        layer.V.mul_(float(rule.factor[k]))
_, loud, loud_activity = examine(scaled)
loud_rate = gf.fit_decay(loud).rate.values
fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4))
for ax, before, after, words in (
    (left, fit.rate.values, loud_rate, "rate  (nats per step)"),
    (right, 100 * activity.firing_rate.values, 100 * loud_activity.firing_rate.values, "fires  (% of steps)"),
):
    ax.bar(np.arange(3) - 0.2, before, color="0.8", width=0.4, label="as initialised")
    ax.bar(np.arange(3) + 0.2, after, color="0.45", width=0.4, label="at the critical gain")
    ax.set_xticks(range(3))
    ax.set(xlabel="layer", ylabel=words)
left.axhline(0, color="black", linewidth=0.8)
for bars in left.containers:
    bars.set_label("_bars")  # the right picture names them
promised.draw(left, at=2.2)
right.legend()
course.say(promised.against(loud_rate[2]))
course.say(
    "V was multiplied by " + ", ".join(f"{value:.1f}" for value in rule.factor.values)
    + "; predicted rate 0 everywhere, measured " + ", ".join(f"{value:+.3f}" for value in loud_rate)
    + f". A rate above 0 is an explosion: {loud_rate[2]:+.3f} over {task.steps} steps is a factor of "
    f"$10^{{{loud_rate[2] * task.steps / np.log(10):.0f}}}$."
)  # fmt: skip

# %% [markdown]
# The rule broke its own assumption. It takes $\mathrm{E}[a^2]$ and $\mathrm{E}[\varphi^2]$ as they *were*; a larger $V$ makes
# the neurons fire, and then they are others. A small change of gain is safe, a large one is a new network. The span does
# not do that: it moves the same spikes to another time.
#
# **Play.** Demand, gain and the two moments. The gain at which the rate crosses zero is the same for each span.

# %% tags=["sliders"]
course.explore_choice()

# %% [markdown]
# ## 6.6 Rule three: the surrogate
#
# The surrogate changes no spike, only the gradient. A silent layer sits far below its threshold: a **wider** window reaches
# it.
#
# **Predict.** Rates of layer 2 with a triangle of width ½, 1 and 2. (That of width 1 is in the chart.)

# %% tags=["prediction"]
widths = course.predict([-0.7, -0.65, -0.3], what="rates of layer 2, width ½, 1, 2", unit="nats per step")

# %%
candidates = {
    "triangle ½": gf.Triangle(0.5),
    "triangle 1": gf.Triangle(1.0),
    "triangle 2": gf.Triangle(2.0),
    "exponential": gf.Exponential(),
}
surrogate_rates = {}
for name, surrogate in candidates.items():
    tried = gf.jacobian_products(patient(neuron=gf.LIF(surrogate=surrogate)), digits, norms=("frobenius",))
    surrogate_rates[name] = gf.fit_decay(tried).rate.values
fig, ax = plt.subplots()
for k in range(3):
    ax.plot(list(candidates), [rates[k] for rates in surrogate_rates.values()], "o^s"[k] + "-",
            color=gf.plots.ordered_colours(3)[k], label=f"layer {k}")  # fmt: skip
widths.draw(ax, at=[0, 1, 2])
ax.set(ylabel="rate  (nats per step)", title="Same spikes, other gradients")
ax.legend()
course.say(widths.against([surrogate_rates[name][2] for name in ("triangle ½", "triangle 1", "triangle 2")]))

# %% [markdown]
# A wide surrogate feeds the silent layers. But it is also less true: the further from the threshold, the less a small change
# could really have made a spike. A longer reach is not a better gradient.
#
# ## 6.7 The figure
#
# Data first, picture second: save the products, then draw from the file. Whoever has the file can draw it anew and sees
# under which conventions it was made.
#
# **Predict.** How many conventions (attributes) does the file carry: neuron, reset, surrogate, seeds …?

# %% tags=["prediction"]
carried = course.predict(10, what="attributes in the file")

# %%
folder = Path(tempfile.mkdtemp())
both = {"vanilla": sick, f"spans {', '.join(map(str, spans))}": treated}
for number, each in enumerate(both.values()):
    gf.save(each, folder / f"products-{number}.nc")
files = [gf.load(folder / f"products-{number}.nc") for number in range(2)]

with gf.plots.style("paper"):
    figure, panels = plt.subplots(1, 3, figsize=(7.0, 2.5), sharey=True)
    for k, ax in enumerate(panels):
        parts = [each[["log_frobenius"]].isel(layer=k, drop=True) for each in files]
        drawn = xr.concat(parts, dim="which", combine_attrs="drop").assign_coords(which=list(both))
        artists = gf.plots.decay_curves(drawn, ax=ax, label="{value}", envelopes=True)
        ax.set(title=f"layer {k}", ylim=(-40, 3))
        ax.label_outer()
    panels[0].legend(list(artists.envelopes.values()), list(artists.envelopes), fontsize=7, loc="lower left")
    figure.savefig(folder / "my-figure.pdf")
    figure.savefig(folder / "my-figure.png", dpi=300)
count = len(files[0].attrs)
course.say(carried.against(float(count)))
some = ", ".join(
    f"{key} = {files[0].attrs[key]}"
    for key in ("neuron", "reset", "surrogate", "recurrence", "task", "seed")
    if key in files[0].attrs
)
course.say(f"Among them: {some}.")
course.say(
    "Written: "
    + ", ".join(f"`{path.name}` ({path.stat().st_size / 1000:.0f} kB)" for path in sorted(folder.iterdir()))
    + "."
)

# %% [markdown]
# ## 6.8 What the numbers mean, and what they do not
#
# - A **rate** is the slope of a curve, at these weights, on these inputs. It says how fast the *worst excuse* for not
#   learning grows: without a gradient nothing is learned. With one, something *may* be.
# - A **horizon** depends on a level. A thousandth is a convention. Compare horizons of one level; do not quote one as a
#   memory span.
# - A **fresh** network is not a trained one (notebook 5: the rate halves and more).
# - A **norm** forgets direction. A large gradient that points nowhere useful is no help.
# - A **surrogate gradient** is not the derivative of the spiking network. Compare curves only under the same surrogate, reset
#   and detachment. The attributes say which.
# - A **loss gradient** with logits summed over time does not vanish, however short the memory. Look at the product.
# - **Few seeds** are few (notebook 5).
#
# ## Questions
#
# 1. Your LSTM has a rate of −0.45 when fresh. With which bias of the forget gate would it be −0.05?
# 2. The adaptive threshold has a slow variable and a slow rate. Does the *information* of a class travel along it?
# 3. In 6.4 the rule fell short in some layers. Which of its assumptions was it?
# 4. Which single change would you make to the patient before anything else, and what would you measure after it?
# 5. Write the caption of your figure: what would a reader have to know in order to make it again?
#
# ## Further reading
#
# - Hochreiter & Schmidhuber 1997, *Long short-term memory*. A memory cell with gates lets an error flow back unchanged.
# - Bellec, Salaj, Subramoney, Legenstein & Maass 2018, *Long short-term memory and learning-to-learn in networks of spiking
#   neurons*, [arXiv:1803.09574](https://arxiv.org/abs/1803.09574). Spiking neurons with adaptive thresholds remember over
#   longer times.
# - Eshraghian et al. 2023, *Training spiking neural networks using lessons from deep learning*,
#   [arXiv:2109.12894](https://arxiv.org/abs/2109.12894). The tutorial behind snnTorch, with a chapter on surrogates.
# - Rossbroich, Gygax & Zenke 2022, *Fluctuation-driven initialization for spiking neural network training*,
#   [arXiv:2206.10226](https://arxiv.org/abs/2206.10226). Weights drawn so that neurons start near their threshold make deep
#   spiking networks trainable.
# - Zhang et al. 2016, *Architectural complexity measures of recurrent neural networks*,
#   [arXiv:1602.08210](https://arxiv.org/abs/1602.08210). Skip connections along time shorten paths, which can be counted
#   before any training.
#
# **Back to** [1 · A spiking neuron and its gradient](1-neuron.ipynb), with your own network in mind.
