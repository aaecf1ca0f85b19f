# %% [markdown]
# # 3 · Skip spans
#
# **After this you can**
#
# - explain in two ways why a skip of λ steps slows the decay: fewer hops, and the root of a polynomial;
# - read a comb, draw its envelope, and say what its holes mean;
# - predict the rate of a span from that of another, and say when time measured in spans makes curves collapse;
# - tell the two regimes, neuron path and recurrent path, apart, and choose the smallest span for a demand.
#
# **Time**: about 60 minutes. **You need**: [notebook 2](2-product.ipynb).

# %%
from math import comb

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import gradflow as gf
from gradflow import course

course.begin()
LOG10 = np.log(10)  # nats in a power of ten

# %% [markdown]
# ## 3.1 One change
#
# The *skip recurrent connection* (SRC) changes one index. The recurrent current reads the spikes of $\lambda$ steps ago
# instead of the last ones:
#
# $$
# u[t] = \alpha\, v[t-1] + I[t] + V s[t-\lambda] .
# $$
#
# Same matrices, same number of parameters, same cost. $\lambda = 1$ is the vanilla network. The way back in time now has
# two kinds of steps: **neuron steps** of length 1 (factor $a$) and **hops** of length $\lambda$ (factor $V\Phi$):
#
# $$
# P(T,t) = P(T,t+1)\,A_t + P(T,t+\lambda)\,V\Phi_t .
# $$

# %%
task = gf.tasks.psmnist(pool=course.size(1, 2))
width = course.size(128, 32)
batch = task.sample(course.size(4, 2))


def network(span, decay=0.5):
    """Return a layer of LIF neurons whose recurrence reads `span` steps back."""
    return gf.RecurrentSNN(task, hidden=width, recurrence=gf.Skip(span), neuron=gf.LIF(decay=decay))


# %% [markdown]
# ## 3.2 First intuition: fewer hops
#
# Every hop costs a factor below 1, whatever distance it covers. Over 48 steps a vanilla network can make up to 48 hops; a
# network with $\lambda = 8$ at most 6. Each product is a sum over all routes, and one can split it by the number of hops.
#
# **Predict.** Over 48 steps, how many hops do the routes make that carry most, for $\lambda = 1$ and for $\lambda = 8$?

# %% tags=["prediction"]
hops = course.predict([35, 5], what="mean number of hops over 48 steps, λ = 1 and 8", unit="hops")

# %%
reach = 64
last = gf.Batch(batch.inputs[-reach:], batch.targets)
rows = []
for span in (1, 8):
    small = gf.RecurrentSNN(task, hidden=course.size(64, 32), recurrence=gf.Skip(span))
    split = gf.path_products(small, last, max_hops=reach // span).isel(layer=0, drop=True)
    row = {
        f"mean_hops{end}": split.mean_hops.quantile(q, "sample", skipna=False).drop_vars("quantile")
        for end, q in (("_low", 0.1), ("", 0.5), ("_high", 0.9))
    }
    rows.append(xr.Dataset({**row, "most_hops": split.lag / span}))
counts = xr.concat(rows, dim="span").assign_coords(span=[1, 8])
fig, ax = plt.subplots()
gf.plots.hop_counts(counts, ax=ax, label="λ = {value}")
hops.draw(ax, at=[48, 48])
ax.set_title("Hops that carry the gradient (dotted: the most there can be)")
course.say(hops.against(counts.mean_hops.sel(lag=48).values))

# %% [markdown]
# ### Exercise 1 ★ The most hops
#
# Write `most_hops(lag, span)`.


# %% tags=["solution"]
def most_hops(lag, span):
    """Return how many whole spans fit into the lag."""
    return lag // span


# %% tags=["check"]
course.check("most-hops", most_hops)

# %% [markdown]
# ### Exercise 2 ★★ How many routes?
#
# There is not one route but many: $k$ hops of $\lambda$ steps and $n - k\lambda$ neuron steps, in any order. Write
# `routes(n, span, k)`, their number; 0 where there is none. (`math.comb` counts choices.)


# %% tags=["solution"]
def routes(n, span, k):
    """Return in how many orders k hops and the remaining neuron steps can be taken."""
    steps = n - k * span
    return comb(steps + k, k) if steps >= 0 else 0


# %% tags=["check"]
course.check("routes", routes)

# %% [markdown]
# ## 3.3 Second intuition: the root of a polynomial
#
# Forget the matrices for a moment: let $a$ and $b$ be numbers, what a neuron step and a hop keep. Then
#
# $$
# x_n = a\,x_{n-1} + b\,x_{n-\lambda}, \qquad x_0 = 1 .
# $$
#
# Try $x_n = z^n$: it is a solution where $z^{\lambda} = a z^{\lambda-1} + b$. This polynomial has $\lambda$ roots; the
# largest, $\rho$, is real and positive, and in the long run $x_n$ decays as $\rho^n$.
#
# **Predict.** $a = 0.2$, $b = 0.5$. For $\lambda = 1$ the root is $a + b = 0.7$. Which is it for $\lambda = 4$ and for
# $\lambda = 16$?

# %% tags=["prediction"]
root = course.predict([0.9, 0.97], what="largest root for λ = 4 and 16")

# %%
a, b = 0.2, 0.5
spans = np.arange(1, 33)
rho = np.array([gf.theory.characteristic_root(a, b, [span], [1.0]).item() for span in spans])
fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.6))
left.plot(spans, rho, "o-", color="black", markersize=3)
root.draw(left, at=[4, 16])
left.set(
    xlabel="span $λ$  (steps)",
    ylabel="largest root $ρ$  (per step)",
    ylim=(0.6, 1.02),
    title="The wider, the nearer to 1",
)
circle = np.exp(2j * np.pi * np.linspace(0, 1, 200))
right.plot(circle.real, circle.imag, color="0.6", linewidth=0.8)
for span, marker in ((1, "*"), (4, "s"), (16, "o")):
    coefficients = np.zeros(span + 1)
    coefficients[0] = 1
    coefficients[1] -= a
    coefficients[-1] -= b
    z = np.roots(coefficients)
    right.plot(
        z.real,
        z.imag,
        marker,
        label=f"λ = {span}",
        linestyle="",
        color=f"{0.25 * np.log2(span) / 2}",
        markersize=9 if marker == "*" else 5,
    )
right.set(xlabel="real part of $z$", ylabel="imaginary part of $z$", aspect="equal", title="All roots")
right.legend(loc="center")
course.say(root.against(rho[[3, 15]]))

# %% [markdown]
# The $\lambda$ roots sit on a ring that approaches the unit circle. Divide the equation by $z^{\lambda}$: where $z$ is near 1 it
# reads $\rho^{\lambda} \approx b/(1-a)$, one factor per span. So **$\lambda\cdot\log\rho$ hardly changes**, a fact that we meet again.
#
# ### Exercise 3 ★ The recursion
#
# Write `recursion(a, b, span, length)` that returns $x_0, \dots, x_{\text{length}-1}$ ($x_n = 0$ for $n < 0$).


# %% tags=["solution"]
def recursion(a, b, span, length):
    """Return x_n = a x_{n−1} + b x_{n−span}."""
    x = [1.0]
    for n in range(1, length):
        x.append(a * x[n - 1] + (b * x[n - span] if n >= span else 0.0))
    return np.array(x)


# %% tags=["check"]
course.check("recursion", recursion)

# %% [markdown]
# ### Exercise 4 ★★ Its root
#
# Write `largest_root(a, b, span)` with `np.roots`. Careful at $\lambda = 1$.


# %% tags=["solution"]
def largest_root(a, b, span):
    """Return the largest root of z^span − a z^(span−1) − b."""
    coefficients = np.zeros(span + 1)
    coefficients[0] = 1
    coefficients[1] -= a
    coefficients[-1] -= b  # at span 1 both meet in the last place
    return np.abs(np.roots(coefficients)).max()


# %% tags=["check"]
course.check("largest-root", largest_root)

# %% [markdown]
# ## 3.4 Combs and envelopes
#
# Between the multiples of $\lambda$ the way must be completed by neuron steps, each of which costs. With a wide span and
# a small $\alpha$ the curve is therefore a **comb**: high at $\lambda, 2\lambda, \dots$, low just before. A task that
# needs one exact lag cares about the comb. For the rate draw the **envelope**: the highest value that is still to come.
#
# **Predict.** For $\lambda = 16$ and $\alpha = 0.2$: at which lags are the first three teeth, after lag 0?

# %% tags=["prediction"]
teeth = course.predict([16, 32, 48], what="lags of the first three teeth", unit="steps")

# %%
comb_curve = gf.curve_band(gf.jacobian_products(network(16, decay=0.2), batch, norms=("frobenius",))).isel(
    layer=0
)
near = comb_curve.sel(lag=slice(0, 80))
fig, ax = plt.subplots()
gf.plots.decay_curves(near, ax=ax, label="λ = 16: comb (thin) and envelope (thick)", envelopes=True)
teeth.draw(ax, along="x")
ax.set_title("A comb")
height = near.centre.values
peaks = [n for n in range(2, 79) if height[n] > height[n - 1] and height[n] >= height[n + 1]]
course.say(teeth.against([peaks[0], peaks[1], peaks[2]]))
depth = (near.envelope - near.centre).max().item() / LOG10
course.say(f"The deepest hole lies a factor of $10^{{{depth:.1f}}}$ under the envelope.")

# %% [markdown]
# ### Exercise 5 ★★ The envelope
#
# Write `envelope(log_norm)`: at each lag the largest value from there on. Exact zeros are `-np.inf` and may occur.


# %% tags=["solution"]
def envelope(log_norm):
    """Return the maximum of what is still to come, at each lag."""
    return np.maximum.accumulate(log_norm[::-1])[::-1]


# %% tags=["check"]
course.check("envelope", envelope)

# %% [markdown]
# ## 3.5 Three spans
#
# Now the real network on real digits. Thin: the comb. Thick: its envelope. Dashed: the **transfer operator**, a theory
# that knows the network's second moments from the forward pass, and nothing of the backward pass.
#
# **Predict.** You know the vanilla rate from notebook 2. Each hop costs the same, whatever it bridges. Which rates for
# $\lambda = 1,\ 4$ and $16$?

# %% tags=["prediction"]
rates = course.predict([-0.465, -0.116, -0.029], what="rates for λ = 1, 4, 16", unit="nats per step")

# %%
spans = [1, 4, 16]
nets = {span: network(span) for span in spans}
measured = {span: gf.jacobian_products(net, batch, norms=("frobenius",)) for span, net in nets.items()}
curves = [
    gf.curve_band(found).isel(layer=0, drop=True).drop_vars("p", errors="ignore")
    for found in measured.values()
]
theory = [
    gf.theory.transfer_operator(gf.local_jacobians(net, batch)).isel(layer=0, drop=True)
    for net in nets.values()
]
drawn, dashed = (
    xr.concat(parts, dim="span", combine_attrs="drop").assign_coords(span=spans) for parts in (curves, theory)
)
fig, ax = plt.subplots(figsize=(6.4, 4.2))
gf.plots.decay_curves(drawn, theory=dashed, ax=ax, label="λ = {value}", envelopes=True)
rates.draw_slope(ax, (0, drawn.centre.values[0, 0] / LOG10), task.steps - 1, scale=1 / LOG10)
ax.set(ylim=(drawn.envelope.min().item() / LOG10 - 5, 6), title="Wider spans, longer gradients")
fits = {span: gf.fit_decay(found).isel(layer=0) for span, found in measured.items()}
course.say(rates.against([fit.rate.item() for fit in fits.values()]))
table = ["| λ | rate, measured | transfer operator | horizon (steps) |", "|---|---|---|---|"]
for span, rate in zip(spans, dashed.rate.values, strict=True):
    table.append(f"| {span} | {fits[span].rate.item():.4f} | {rate:.4f} | {fits[span].horizon.item():.0f} |")
course.say("\n".join(table))

# %% [markdown]
# The horizon grows with the span, nearly in proportion, and the theory needs no fit.
#
# ## 3.6 Collapse: time measured in spans
#
# If a hop costs the same whatever it bridges, then curves against the **lag in spans**, $(T-t)/\lambda$, should fall on
# one another, and $\lambda\cdot\text{rate}$ should be a constant.
#
# **Predict.** $\lambda\cdot\text{rate}$ for $\lambda = 16$, in nats per span. (You know the three rates.)

# %% tags=["prediction"]
collapse = course.predict(-0.6, what="λ · rate at λ = 16", unit="nats per span")

# %%
folded = xr.Dataset({"relative": drawn.envelope - drawn.envelope.sel(lag=0)})
folded["lag_in_spans"] = (folded.lag / folded.span).transpose("span", "lag")
fig, ax = plt.subplots()
gf.plots.collapsed_curves(folded, ax=ax)
collapse.draw_slope(ax, (0, 0), 12, scale=1 / LOG10)
ax.set(xlim=(0, 12), ylim=(-5, 0.3), title="Curves of all spans, time measured in spans")
products = {span: span * fit.rate.item() for span, fit in fits.items()}
course.say(collapse.against(products[16]))
course.say("λ · rate: " + ", ".join(f"{value:.3f} at λ = {span}" for span, value in products.items()) + ".")

# %% [markdown]
# A factor of $\lambda$ in the span is a factor of nearly $\lambda$ in the rate. What differs is the vanilla curve: at
# $\lambda = 1$ neuron steps and hops are of the same length, and every mixture of both counts at every lag.
#
# ## 3.7 Two regimes
#
# There are two ways back, and the slower decay wins. Hops decay about as $1/\lambda$. The neuron path knows no span: a
# neuron outside its window keeps $\alpha$ per step, so that path decays at $\log\alpha$.
#
# **Predict.** At $\alpha = 0.9$, which rate do $\lambda = 1$ and $\lambda = 16$ have?

# %% tags=["prediction"]
regimes = course.predict([-0.105, -0.03], what="rates at α = 0.9 for λ = 1 and 16", unit="nats per step")

# %%
grid = course.size([1, 2, 4, 8, 16], [1, 4, 16])
found = {
    decay: np.array(
        [
            gf.fit_decay(gf.jacobian_products(network(span, decay), batch, norms=("frobenius",))).rate.item()
            for span in grid
        ]
    )
    for decay in (0.5, 0.9)
}
fig, ax = plt.subplots()
for (decay, values), marker in zip(found.items(), ("o", "s"), strict=True):
    ax.loglog(grid, -values, marker + "-", color="black" if decay == 0.5 else "0.5", label=f"α = {decay}")
    ax.axhline(
        -np.log(decay),
        color="black" if decay == 0.5 else "0.5",
        linestyle=":",
        label=f"neuron path, −log {decay}",
    )
regimes.draw(ax, at=[1, 16], scale=abs)
ax.set(xlabel="span $λ$  (steps)", ylabel="decay rate  (nats per step)", title="The slower path wins")
ax.set_xticks(grid, [str(span) for span in grid])
ax.set_yticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
ax.minorticks_off()
ax.legend(loc="lower left")
course.say(regimes.against([found[0.9][0], found[0.9][-1]]))
crossing = gf.theory.measured_crossing(grid, found[0.9], 0.9).span
course.say(
    f"At α = 0.9 the recurrent path overtakes the neuron path at a span of about {crossing:.1f} steps."
)

# %% [markdown]
# At $\alpha = 0.9$ the narrow spans sit on the dotted line: the neuron path carries the gradient, and a span of 2 buys
# nothing. Beyond the crossing the recurrent path takes over. At $\alpha = 0.5$ it wins at every span. Before you tune a
# span, know in which regime you are.
#
# ### Exercise 6 ★★★ Choose a span
#
# A task needs memory over `demand` steps. Write `choose_span(demand, a_square, gain_square)`: the smallest span whose
# horizon, by the mean-square recursion, is at least `demand`. There is a helper:
# `gf.theory.predicted_horizon(a_square, gain_square, [span], [1.0])`.


# %% tags=["solution"]
def choose_span(demand, a_square, gain_square):
    """Return the smallest span whose predicted horizon reaches the demand."""
    span = 1
    while gf.theory.predicted_horizon(a_square, gain_square, [span], [1.0]) < demand:
        span += 1
    return span


# %% tags=["check"]
course.check("choose-a-span", choose_span)

# %% [markdown]
# ## 3.8 Play
#
# Sliders over $\lambda$, $\alpha$, the gain of $V$ and the surrogate's width, on a network of 48 neurons. Find the regime
# where the span does nothing. Find a setting whose largest root is above 1.

# %% tags=["sliders"]
course.explore_spans()

# %% [markdown]
# ## Questions
#
# 1. Why not simply take $\lambda = T/2$? (Think of the comb, and of what a network with two hops can compute.)
# 2. A task asks at lag 24, your span is 16. Would you rather take 12 or 24? What if the lag varies?
# 3. Someone doubles the span and the rate does not change. What has happened?
# 4. The horizon grows with $\lambda$, the number of parameters does not. What does a wide span lose?
#
# ## Further reading
#
# - *ASRC-SNN: Adaptive skip recurrent connection spiking neural network*, 2025,
#   [arXiv:2505.11455](https://arxiv.org/abs/2505.11455). A skip of λ steps mitigates the vanishing gradient along time and
#   improves long-term temporal modelling; λ can be learned.
# - El Hihi & Bengio 1995, *Hierarchical recurrent neural networks for long-term dependencies*, NIPS 8. Units that work on
#   several time scales shorten the way a gradient has to go.
# - Lin, Horne, Tiño & Giles 1996, *Learning long-term dependencies in NARX recurrent neural networks*, IEEE Transactions
#   on Neural Networks 7 (6). Connections with delays let gradients jump over steps, and long dependencies are learned more
#   easily.
# - Zhang et al. 2016, *Architectural complexity measures of recurrent neural networks*,
#   [arXiv:1602.08210](https://arxiv.org/abs/1602.08210). The *recurrent skip coefficient*, steps per edge of the shortest
#   path, goes with how well a network learns long dependencies.
# - Chang et al. 2017, *Dilated recurrent neural networks*, [arXiv:1710.02224](https://arxiv.org/abs/1710.02224). Skips of
#   growing length in a stack of layers; the *mean recurrent length* measures how short the ways are.
#
# **Next**: [4 · Learning the span](4-learning-the-span.ipynb): let the network choose.
