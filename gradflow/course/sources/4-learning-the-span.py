# %% [markdown]
# # 4 · Learning the span
#
# **After this you can**
#
# - write a recurrence that mixes many spans, and say what the mixture does to the gradient's reach;
# - derive the gradient of a span's weight and of its logit, and check both against autograd;
# - read from that gradient which span a task asks for;
# - cool a softmax down, and recognise three ways in which the choice gets stuck.
#
# **Time**: about 60 minutes. **You need**: notebooks 1 to 3, above all what a span $\lambda$ is.
#
# In notebook 3 you chose the span. Can a network choose its own? A span is a whole number: it has no gradient. The trick
# is an old one: read **all** spans at once, each with a weight, and let the gradient move the weights.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr

import gradflow as gf
from gradflow import course
from gradflow.plots.learning import kernel_over_epochs

course.begin()
torch.set_num_threads(1)  # layers this small are fastest on one thread

# %% [markdown]
# ## 4.1 All spans at once
#
# The recurrent current reads a **mixture** of earlier spikes, with weights that a softmax makes of learned numbers, the
# *logits* $c_d$:
#
# $$
# u[t] = \alpha\, v[t-1] + I[t] + V\,\hat s[t], \qquad
# \hat s[t] = \sum_{d=1}^{D} p_d\, s[t-d], \qquad
# p_d = \frac{e^{c_d/\tau}}{\sum_k e^{c_k/\tau}}.
# $$
#
# $\tau$ is the **temperature**. Hot ($\tau$ large), all spans weigh the same. Cold ($\tau \to 0$), the largest logit takes
# everything, and we have one span again. This is the *adaptive skip recurrent connection* (ASRC). Training starts hot and
# cools; evaluation reads the span of the largest logit alone.
#
# ### Exercise 1 ★ The weights
#
# Write `weights(c, temperature)`, the softmax above. Make it safe for large $c/\tau$ too.


# %% tags=["solution"]
def weights(c, temperature):
    """Return softmax(c / temperature)."""
    powers = np.exp((c - c.max()) / temperature)
    return powers / powers.sum()


# %% tags=["check"]
course.check("softmax", weights)

# %% [markdown]
# **Predict.** Sixteen spans. One logit is 1, all others are 0. At $\tau = 0.25$, which weight has the leading span?
# ($e^4 \approx 55$.)

# %% tags=["prediction"]
lead = course.predict(0.5, what="the leading span's weight at τ = 0.25")

# %%
D = course.size(16, 8)
c = np.eye(D)[D - 1]  # the widest span leads by 1
temperatures = (2.0, 0.5, 0.25, 0.1)


def taps(c, temperature):
    """Return the weights p as the library makes them."""
    spans = gf.AdaptiveSkip(len(c), temperature=temperature).build()
    with torch.no_grad():
        spans.span_logits.copy_(torch.as_tensor(c))
    return spans.taps(gf.SpanMode.SOFT, spans.span_logits).weights.detach().numpy()


fig, ax = plt.subplots()
colours = gf.plots.ordered_colours(len(temperatures))
for place, temperature in enumerate(temperatures):
    ax.plot(
        np.arange(1, D + 1),
        taps(c, temperature),
        "osD^"[place] + "-",
        color=colours[place],
        label=f"τ = {temperature:g}",
    )
lead.draw(ax, at=D)
ax.set(xlabel="span $d$  (steps)", ylabel="weight $p_d$", title="Cooling makes a choice")
ax.legend(loc="upper left")
course.say(lead.against(taps(c, 0.25)[-1]))

# %% [markdown]
# ### Exercise 2 ★ A schedule
#
# The published networks multiply $\tau$ by 0.96 after each of 200 epochs. You train fewer epochs, and want to end at the
# same temperature. Write `factor(published, published_epochs, epochs)`, your factor for one epoch.


# %% tags=["solution"]
def factor(published, published_epochs, epochs):
    """Return the factor that cools as far in `epochs` as `published` does in `published_epochs`."""
    return published ** (published_epochs / epochs)


# %% tags=["check"]
course.check("cooling", factor)

# %% [markdown]
# ## 4.2 A mixture reaches less far than its widest span
#
# Each recurrent hop over $d$ steps now carries the factor $p_d$. If the hops over different spans were independent, their
# *squares* would add, and the mean-square theory of notebook 3 would read
#
# $$
# x_n = \mathrm{E}[a^2]\, x_{n-1} + g^2\, \mathrm{E}[\varphi^2] \sum_d p_d^2\, x_{n-d}.
# $$
#
# For $D$ even weights $\sum_d p_d^2 = 1/D$: the recurrent path is $D$ times weaker. So $1/\sum_d p_d^2$ counts **how many
# spans share the weight**.
#
# We measure it: the same layer, the same digits, four temperatures. The *horizon* is the lag at which the gradient has
# fallen to a thousandth.


# %%
task = gf.tasks.psmnist(pool=2)  # permuted digits, 196 steps
digits = task.sample(course.size(4, 1))


def network(c, temperature):
    """Return a fresh one-layer network whose recurrence mixes the spans 1 … D."""
    recurrence = gf.AdaptiveSkip(len(c), temperature=temperature)
    net = gf.RecurrentSNN(task, hidden=course.size(64, 16), recurrence=recurrence)
    with torch.no_grad():
        net.recurrent_layers()[0].spans.span_logits.copy_(torch.as_tensor(c))
    return net


def measure(c, temperature, mode=gf.SpanMode.SOFT):
    """Return local Jacobians, Jacobian products and the horizon of the mixture (soft) or its leader (hard)."""
    local = gf.local_jacobians(network(c, temperature), digits, span_mode=mode)
    products = gf.jacobian_products(local, norms=("frobenius",))
    return local, products, gf.horizon_at(gf.curve_band(products), variable="centre").horizon.item()


alone = measure(c, 1.0, gf.SpanMode.HARD)
course.say(f"Span {D} alone reaches **{alone[2]:.0f} steps**.")

# %% [markdown]
# **Predict.** How many steps does the even mixture of all spans reach, at $\tau \to \infty$?

# %% tags=["prediction"]
reach = course.predict(40, what="the horizon of the even mixture", unit="steps")

# %%
found = {f"τ = {temperature:g}": measure(c, temperature) for temperature in (1e6, 0.5, 0.25)}
found = {"even" if name == "τ = 1e+06" else name: each for name, each in found.items()}
found[f"span {D} alone"] = alone
parts = [each[1].isel(layer=0).drop_vars(["p", "span"]) for each in found.values()]
curves = xr.concat(parts, dim="which", combine_attrs="drop").assign_coords(which=list(found))

fig, ax = plt.subplots()
artists = gf.plots.decay_curves(curves, ax=ax, label="{value}", envelopes=True)
start = artists.envelopes["even"].get_ydata()[0]
ax.axhline(start - 3, color="0.5", linewidth=0.9, linestyle=":")
ax.text(2, start - 2.95, "a thousandth", fontsize=9, va="bottom", color="0.3")
reach.draw(ax, along="x")
ax.set(ylim=(-7, 1.2), title="Hot mixtures lose the gradient sooner")
guess = [line for line in ax.lines if line.get_label() == "your prediction"]
ax.legend([*artists.envelopes.values(), *guess], [*artists.envelopes, *(g.get_label() for g in guess)])
course.say(reach.against(found["even"][2]))

# %% [markdown]
# Was the mean-square theory right about it? Here is what it says, beside the transfer operator, which also knows that
# every hop goes through the *same* matrix $V$.

# %%
rows = [
    "| weights | spans that share | measured rate | mean square | transfer operator |",
    "|---|---|---|---|---|",
]
rates = {}
for name, (local, products, _) in found.items():
    shared = 1 / float((products.p**2).sum())
    measured = gf.fit_decay(products).rate.item()
    rough = gf.theory.mean_square(products).rate.item()
    fine = gf.theory.transfer_operator(local).rate.item()
    rates[name] = measured, rough, fine
    rows.append(f"| {name} | {shared:.1f} | {measured:.4f} | {rough:.4f} | {fine:.4f} |")
course.say("\n".join(rows))
measured, rough, fine = rates["even"]
course.say(
    f"Rates in nats per step. For the even mixture the mean square is off by a factor of {rough / measured:.1f}; the "
    f"transfer operator by {abs(fine / measured - 1):.0%}. Independence is the culprit: paths of different spans that "
    "arrive at the same step have gone through the same $V$, so they do not cancel as random ones would. A mixture is "
    "weaker than its widest span, but not as weak as the simple theory fears."
)

# %% [markdown]
# **Play.** Move temperature, lead and span. Where does the mean-square curve (dotted) begin to agree with the measured
# one? Without widgets you see three temperatures.

# %% tags=["sliders"]
course.explore_temperature()

# %% [markdown]
# ## 4.3 What the gradient of a span looks like
#
# Let $g[t] = \partial L/\partial u[t]$ be what backpropagation brings to the potentials. The weight $p_d$ enters
# $u[t]$ as $p_d\, V s[t-d]$, at every step. So
#
# $$
# \frac{\partial L}{\partial p_d} = \sum_t g[t]^{\top} V\, s[t-d],
# \qquad
# \frac{\partial L}{\partial c_d} = \frac{p_d}{\tau}\Bigl(\frac{\partial L}{\partial p_d}
#   - \sum_k p_k \frac{\partial L}{\partial p_k}\Bigr).
# $$
#
# The first is a **correlation**: does what the spikes of $d$ steps ago send through $V$ point to where the potential
# should go? The second is a **competition**: a span gains only if it is better than the average of all.
#
# ### Exercise 3 ★★ The gradient of a weight
#
# Write `weight_gradient(g, s, V, d)`, the first sum, over all steps and all sequences. `g` and `s` are arrays
# (time, batch, neuron). Spikes before the start are 0.


# %% tags=["solution"]
def weight_gradient(g, s, V, d):
    """Return Σ over t and sequences of g[t]ᵀ V s[t−d]."""
    return float(np.sum(g[d:] * (s[:-d] @ V.T)))


# %% tags=["check"]
course.check("weight-gradient", weight_gradient)

# %% [markdown]
# ### Exercise 4 ★★ The gradient of a logit
#
# Write `logit_gradient(p, temperature, by_p)`: from the weights and $\partial L/\partial p$ to $\partial L/\partial c$.


# %% tags=["solution"]
def logit_gradient(p, temperature, by_p):
    """Return p/τ ∘ (∂L/∂p − Σ p ∂L/∂p)."""
    return p / temperature * (by_p - np.sum(p * by_p))


# %% tags=["check"]
course.check("logit-gradient", logit_gradient)

# %% [markdown]
# Now a task that knows what it wants. **Delayed recall**: one of four classes is shown for two steps; 20 steps later, at
# a cue, the network must name it. The loss is on the last step. Spans up to 24 are offered, all with the same weight.
#
# **Predict.** For which span $d$ is the gradient $\partial L/\partial c_d$ largest in size?

# %% tags=["prediction"]
wanted = course.predict(20, what="the span with the largest gradient", unit="steps")

# %%
DELAY, SPANS = 20, 24
SEEDS = range(course.size(4, 1))


def recall(seed, factor=1.0, shown=2):
    """Return a delayed recall task and a fresh network with adaptive spans."""
    recall_task = gf.tasks.delayed_recall(DELAY, shown=shown, examples=course.size(1000, 100), data_seed=seed)
    recurrence = gf.AdaptiveSkip(SPANS, temperature_decay=factor)
    return recall_task, gf.RecurrentSNN(recall_task, 32, recurrence, readout="last", seed=seed)


def pull(task, net, batch):
    """Return −∂L/∂c: positive where gradient descent raises the logit."""
    run = net(batch.inputs, span_mode=gf.SpanMode.SOFT)
    loss = task.objective.losses(run, batch.targets).mean()
    (gradient,) = torch.autograd.grad(loss, net.recurrent_layers()[0].spans.span_logits)
    return -gradient.numpy()


at_start = []
for seed in SEEDS:
    recall_task, net = recall(seed)
    at_start.append(pull(recall_task, net, recall_task.sample(course.size(200, 50))))
at_start = np.array(at_start)

fig, ax = plt.subplots()
for seed, values in zip(SEEDS, at_start, strict=True):
    ax.plot(np.arange(1, SPANS + 1), 1e3 * values, "o^sD"[seed] + "-", markersize=4, label=f"network {seed}",
            color=gf.plots.ordered_colours(len(SEEDS))[seed])  # fmt: skip
wanted.draw(ax, along="x")
ax.set(
    xlabel="span $d$  (steps)",
    ylabel=r"pull  $-\partial L/\partial c_d$  ($10^{-3}$)",
    title="Fresh networks",
)
strongest = 1 + np.abs(at_start).argmax(axis=1)
course.say(wanted.against(float(np.median(strongest))))
course.say(
    f"The strongest span is {', '.join(map(str, strongest))} in the {len(SEEDS)} networks: the gradient **finds the delay** "
    f"at once. But look at the sign: in {(at_start[:, DELAY - 1] < 0).sum()} of {len(SEEDS)} networks it is *negative*. "
    f"Gradient descent begins by pushing the one useful span **away**."
)

# %% [markdown]
# Why? With fresh weights, what comes through $V$ after 20 steps is not yet information, it is noise to the readout, and
# less noise means less loss. The gradient is right about *where* and wrong about *which way*. It changes its mind once the
# weights have learned something. We hold the spans still, let only the weights learn, and watch the pull on span 20.
#
# **Predict.** After how many updates of the weights is the pull on span 20 positive in *all* networks?

# %% tags=["prediction"]
turn = course.predict(10, what="updates until all networks pull span 20 in", unit="updates")

# %%
UPDATES = course.size(60, 4)
pulls = np.zeros((len(SEEDS), UPDATES + 1))
for seed in SEEDS:
    recall_task, net = recall(seed)
    own = [value for name, value in net.named_parameters() if not name.endswith("span_logits")]
    optimiser = torch.optim.AdamW(own, lr=1e-3)
    batches = [batch for epoch in range(8) for batch in recall_task.batches(50, seed=seed, epoch=epoch)]
    for update, batch in enumerate(batches[: UPDATES + 1]):
        pulls[seed, update] = pull(recall_task, net, batch)[DELAY - 1]
        loss = recall_task.objective.losses(net(batch.inputs), batch.targets).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

fig, ax = plt.subplots()
for seed in SEEDS:
    ax.plot(1e3 * pulls[seed], color=gf.plots.ordered_colours(len(SEEDS))[seed], label=f"network {seed}",
            linestyle=("-", "--", "-.", ":")[seed])  # fmt: skip
ax.axhline(0, color="0.4", linewidth=0.9)
turn.draw(ax, along="x")
ax.set(
    xlabel="updates of the weights",
    ylabel=r"pull on span 20  ($10^{-3}$)",
    title="First the weights, then the span",
)
positive = (pulls > 0).all(axis=0)
steady = int(len(positive) - np.argmin(positive[::-1])) if not positive.all() else 0
if steady <= UPDATES:
    course.say(turn.against(float(steady)))
else:
    course.say(f"After {UPDATES} updates not all of them pull yet.")

# %% [markdown]
# Remember this for the schedule: **a choice made in the first dozens of updates is made on noise.** Cooling must wait for
# the weights.
#
# ## 4.4 Letting it learn
#
# Here is the whole training: weights and logits together, then one step of cooling after each epoch. (The logits have a
# learning rate of 0.1, as published, a hundred times that of the weights.)


# %%
EPOCHS = course.size(20, 2)


def learn(factor, seed, shown=2):
    """Train once; return weights p after every epoch, gradient norms, and accuracies with soft and hard spans."""
    task, net = recall(seed, factor, shown)
    spans = net.recurrent_layers()[0].spans
    own = [value for name, value in net.named_parameters() if not name.endswith("span_logits")]
    optimiser = torch.optim.AdamW(
        [{"params": own, "lr": 1e-3}, {"params": [spans.span_logits], "lr": 0.1, "weight_decay": 0.0}]
    )
    p, norms = [taps(spans.span_logits.detach(), 1.0)], []
    for epoch in range(EPOCHS):
        net.train()
        sizes = []
        for batch in task.batches(50, seed=seed, epoch=epoch):
            loss = task.objective.losses(net(batch.inputs), batch.targets).mean()
            optimiser.zero_grad()
            loss.backward()
            sizes.append(float(spans.span_logits.grad.norm()))
            optimiser.step()
        net.anneal()  # τ ← factor · τ
        p.append(taps(spans.span_logits.detach(), float(spans.temperature)))
        norms.append(np.mean(sizes))
    net.eval()
    part = task.part(gf.Split.TEST)
    test = part.batch(range(len(part)))
    with torch.no_grad():
        right = {
            mode: float(
                task.objective.correct(net(test.inputs, span_mode=mode), test.targets).double().mean()
            )
            for mode in gf.SpanMode
        }
    return {"p": np.array(p), "norms": np.array(norms), "net": net, "task": task, **right}


# %% [markdown]
# Three schedules, four networks each: never cool ($\tau = 1$ throughout), cool slowly (0.85 an epoch), cool fast (0.5 an
# epoch).
#
# **Predict.** How many of the four networks name more than 90 % of the classes right when they are tested with *one hard
# span*: never cooled, slowly cooled, fast cooled?

# %% tags=["prediction"]
passed = course.predict([4, 4, 1], what="networks that pass: never, slow, fast", unit="of 4")

# %%
FACTORS = {"never": 1.0, "slow": 0.85, "fast": 0.5}
runs = {name: [learn(factor, seed) for seed in SEEDS] for name, factor in FACTORS.items()}

fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.6))
for place, trained in enumerate(runs.values()):
    for seed, run in enumerate(trained):
        offset = place + 0.12 * (seed - (len(SEEDS) - 1) / 2)
        left.plot([offset], [100 * run["hard"]], "o", color="black", label="_")
        left.plot(
            [offset], [100 * run["soft"]], "o", color="black", fillstyle="none", markersize=9, label="_"
        )
left.plot([], [], "o", color="black", label="one hard span")
left.plot([], [], "o", color="black", fillstyle="none", markersize=9, label="the soft mixture")
left.axhline(25, color="0.5", linestyle=":", linewidth=1, label="chance")
left.set_xticks(range(3), list(runs))
left.set(ylim=(0, 106), xlabel="cooling", ylabel="right answers in the test split  (%)")
left.legend(loc="lower right")
counts = {name: sum(run["hard"] > 0.9 for run in trained) for name, trained in runs.items()}
right.bar(range(3), counts.values(), color="0.7", width=0.6)
right.set_xticks(range(3), list(runs))
right.set(ylim=(0, len(SEEDS) + 0.6), xlabel="cooling", ylabel=f"networks that pass, of {len(SEEDS)}")
passed.draw(right, at=range(3))
course.say(passed.against(list(map(float, counts.values()))))

# %% [markdown]
# Look at the left picture first, at the open circles beside the full ones. What does each network have in mind? Below are
# the weights of network 0 over the epochs (grey), and the span that a test would read (line).
#
# **Predict.** Network 0, never cooled, solves the task with its mixture. How many spans share the weight in the end?

# %% tags=["prediction"]
sharing = course.predict(1, what="spans that share the weight, never cooled", unit="spans")

# %%
fig, panels = plt.subplots(1, 3, figsize=(9.2, 3.2), sharey=True)
for ax, (name, trained) in zip(panels, runs.items(), strict=True):
    p = xr.DataArray(
        trained[0]["p"], {"epoch": range(EPOCHS + 1), "tap": range(1, SPANS + 1)}, ("epoch", "tap")
    )
    read = (p.argmax("tap") + 1).expand_dims(seed=[0], axis=1)
    kernel_over_epochs(xr.Dataset({"p": p, "spans": read}), ax=ax)
    ax.set_title(name)
    ax.label_outer()


def heavy(run, share=0.1):
    """Return the spans that hold more than a tenth of the weight at the end."""
    return [int(d) for d in 1 + np.flatnonzero(run["p"][-1] > share)]


shared = 1 / np.sum(runs["never"][0]["p"][-1] ** 2)
course.say(sharing.against(shared))
told = "; ".join(
    f"network {seed}: {' and '.join(map(str, heavy(run))) or 'none'}, soft {run['soft']:.0%}, hard {run['hard']:.0%}"
    for seed, run in enumerate(runs["never"])
)
course.say(f"Spans with more than a tenth of the weight, never cooled: {told}.")
pairs = [heavy(run) for run in runs["never"] if len(heavy(run)) == 2]
if pairs:
    sums = ", ".join(f"{' + '.join(map(str, pair))} = {sum(pair)}" for pair in pairs)
    course.say(f"Where two share it: {sums}. The delay is {DELAY}.")

# %% [markdown]
# Do you see it? Where two spans share the weight, they **add up to the delay**: the network takes two hops. That is a fine
# solution for the mixture, and no solution at all for one hard span. Nothing asked the network to choose, so it did not.
#
# ## 4.5 Three ways to get stuck
#
# 1. **Undecided.** Too hot for too long: several spans cooperate, and the hard span that is read in the end is a network
#    that was never trained. *Sign*: soft and hard accuracy differ; more than one span shares the weight.
# 2. **Frozen.** Too cold too soon: with $p$ nearly one-hot, $p_d(1-p_d)/\tau$ is nearly 0 for every $d$, and no logit
#    moves any more, whatever the loss. *Sign*: $\lVert\partial L/\partial c\rVert$ falls by many powers of ten while the
#    loss is still high.
# 3. **Silent.** $\partial L/\partial p_d$ needs spikes. A layer that does not fire has a gradient of exactly 0.
#
# **Predict.** Network 0, fast cooling: which power of ten has $\lVert\partial L/\partial c\rVert$ in epoch 7, when
# $\tau = 0.5^6$?

# %% tags=["prediction"]
frozen = course.predict(-4, what="the gradient of the logits in epoch 7, fast cooling", unit="powers of ten")

# %%
fig, ax = plt.subplots()
for place, (name, trained) in enumerate(runs.items()):
    norms = trained[0]["norms"]
    with np.errstate(divide="ignore"):  # exactly 0 in float64: nothing to draw
        powers = np.log10(norms)
    ax.plot(np.arange(1, EPOCHS + 1), np.where(np.isfinite(powers), powers, np.nan), "osD"[place] + "-",
            color=gf.plots.ordered_colours(3)[place], label=f"{name}: {trained[0]['hard']:.0%} right")  # fmt: skip
frozen.draw(ax, at=7)
ax.set(
    xlabel="training  (epochs)",
    ylabel=r"$\log_{10}\,\|\partial L/\partial c\|$",
    title="Network 0: does the choice still move?",
)
ax.legend(loc="lower left")
epoch = min(7, EPOCHS)
gone = int(np.sum(runs["fast"][0]["norms"] == 0))
course.say(frozen.against(np.log10(max(runs["fast"][0]["norms"][epoch - 1], 1e-300)), powers=True))
course.say(f"Where its curve ends, the gradient is exactly 0: in {gone} of {EPOCHS} epochs.")

# %% [markdown]
# And silence: the same task, but the class is shown for a *single* step, which is too little current to make any neuron
# fire at first.

# %%
recall_task, net = recall(0, shown=1)
fired = int(net(recall_task.sample(50).inputs).layers[0].s.sum())
quiet = learn(1.0, 0, shown=1)
dead = int(np.sum(np.cumsum(quiet["norms"]) == 0))
course.say(
    f"Shown for one step, the fresh network fires {fired} spikes in 50 sequences, and the gradient of the logits is exactly "
    f"0 for the first **{dead} of {EPOCHS} epochs**. No schedule helps here. A larger input, larger weights, or more steps "
    "of showing do."
)

# %% [markdown]
# ### Exercise 5 ★★★ The temperature of quickest choice
#
# Two spans, one ahead by $\delta = c_1 - c_2$. How much the weight of the leader answers to its logit is
# $\partial p_1/\partial c_1 = p_1(1-p_1)/\tau$. Hot, it is small because of $1/\tau$; cold, because $p_1 \to 1$. Write
# `fastest(lead)`: the temperature at which it is largest. (With $x = \delta/\tau$ there is one best $x$ for all leads.
# Find it numerically.)


# %% tags=["solution"]
def fastest(lead):
    """Return δ/x for the x at which x e^x / (1 + e^x)² is largest."""
    x = np.linspace(0.01, 20, 200_000)
    return lead / x[np.argmax(x * np.exp(x) / (1 + np.exp(x)) ** 2)]


# %% tags=["check"]
course.check("fastest-temperature", fastest)

# %% [markdown]
# ## 4.6 What the chosen span does to the answer
#
# Last look: how much does the answer depend on each input step? $\lVert\partial\,\text{logits}/\partial x[t]\rVert$,
# before and after training, with the hard span. The class is shown in steps 0 and 1.
#
# **Predict.** By which power of ten does training raise the sensitivity to the first input? (Network 2, slowly cooled.)

# %% tags=["prediction"]
raised = course.predict(3, what="growth of the sensitivity to the first input", unit="powers of ten")

# %%
best = runs["slow"][course.size(2, 0)]
few = best["task"].sample(course.size(16, 4))
fresh = recall(course.size(2, 0))[1]
seen = {}
for name, net in (("fresh, all spans", fresh), ("trained, one hard span", best["net"])):
    mode = gf.SpanMode.SOFT if net is fresh else gf.SpanMode.HARD
    sensitivity = gf.logit_sensitivity(net, few, span_mode=mode).log_input
    seen[name] = sensitivity.max("class").median("sample").values / np.log(10)
fig, ax = plt.subplots()
for place, (name, curve) in enumerate(seen.items()):
    finite = np.where(np.isfinite(curve), curve, np.nan)
    ax.plot(finite, "os"[place] + "-", color=gf.plots.ordered_colours(2)[place], label=name)
before, after = (curve[0] for curve in seen.values())
if np.isfinite(before):
    raised.draw(ax, at=0, scale=lambda guess: before + guess)
ax.set(
    xlabel="input step $t$",
    ylabel=r"$\log_{10}\,\|\partial\,$logits$/\partial x[t]\|$",
    title="What the answer listens to",
)
ax.legend()
if np.isfinite(before) and np.isfinite(after):
    course.say(raised.against(after - before, powers=True))

# %% [markdown]
# A hard span listens at single steps, the steps from which a whole number of hops (and a little leak) leads to the end. It
# does not listen longer to everything. It listens to what the task asked for.
#
# ## Questions
#
# 1. The logits are updated with a learning rate of 0.1 by an optimiser that normalises every gradient (Adam). What does
#    that do to the first, wrongly signed, gradients of 4.3?
# 2. Two spans that add up to the delay solve the task softly. Which *two-layer* network solves it with hard spans?
# 3. Delay 20 is offered as a span. What would the networks choose if only spans up to 16 were offered?
# 4. You see $1/\sum_d p_d^2 = 1.0$ and a poor accuracy. Which of the three ways is it? What do you look at next?
# 5. Four networks for each schedule. Which of the statements above would you defend after seeing four more?
#
# ## Further reading
#
# - *ASRC-SNN: Adaptive skip recurrent connection spiking neural network*, 2025,
#   [arXiv:2505.11455](https://arxiv.org/abs/2505.11455). Each layer learns its span by a softmax that is cooled down.
# - Jang, Gu & Poole 2017, *Categorical reparameterization with Gumbel-softmax*,
#   [arXiv:1611.01144](https://arxiv.org/abs/1611.01144). A softmax with a temperature makes a discrete choice
#   differentiable; annealing brings it back to discrete.
# - Liu, Simonyan & Yang 2019, *DARTS: differentiable architecture search*,
#   [arXiv:1806.09055](https://arxiv.org/abs/1806.09055). Architectures, too, can be chosen by relaxing the choice to a
#   softmax and taking the largest weight in the end.
# - Hammouamri, Khalfaoui-Hassani & Masquelier 2024, *Learning delays in spiking neural networks using dilated convolutions
#   with learnable spacings*, [arXiv:2306.17670](https://arxiv.org/abs/2306.17670). Delays of feed-forward connections can
#   be learned by a kernel that is narrowed while training.
# - DiPietro, Rupprecht, Navab & Hager 2017, *Analyzing and exploiting NARX recurrent neural networks for long-term
#   dependencies*, [arXiv:1702.07805](https://arxiv.org/abs/1702.07805). Connections to several earlier steps shorten the
#   gradient's way.
#
# **Next**: [5 · Training](5-training.ipynb).
