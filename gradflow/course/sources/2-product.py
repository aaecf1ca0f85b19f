# %% [markdown]
# # 2 · Backpropagation through time as a product
#
# **After this you can**
#
# - write the Jacobian of one step of a recurrent spiking layer, and say what its two parts are;
# - show why the gradient along time is a product of matrices, and read its decay rate off a curve;
# - tell a zero of the number format from a zero of the structure, and compute the number behind the first;
# - say when a loss gradient does not vanish although the Jacobian product does.
#
# **Time**: about 60 minutes. **You need**: [notebook 1](1-neuron.ipynb), matrix products.

# %%
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import gradflow as gf
from gradflow import course
from gradflow.analysis.steps import norm_band

course.begin()
LOG10 = np.log(10)  # nats in a power of ten

# %% [markdown]
# ## 2.1 One step of a layer
#
# Now $H$ neurons listen to each other. The **recurrent matrix** $V$ carries the spikes of one step to all neurons of the
# next. This is the *vanilla* recurrence:
#
# $$
# u[t+1] = \alpha\, v[t] + I[t+1] + V s[t].
# $$
#
# How does $u[t+1]$, a vector, depend on $u[t]$? In two ways. Each neuron hands on its own potential: a diagonal matrix
# with the factors $a[t]$ of notebook 1. That is the **neuron path**. And each neuron's spike goes through $V$ to all
# others: the column of sender $j$, times its $\varphi_j[t]$. That is the **recurrent path**. Together:
#
# $$
# J[t] \;=\; \frac{\partial u[t+1]}{\partial u[t]} \;=\; A_t + V\,\Phi_t,
# \qquad A_t = \operatorname{diag} a[t], \quad \Phi_t = \operatorname{diag}\varphi[t].
# $$
#
# Here is a network that reads a digit pixel by pixel, one pixel a step, in a fixed random order: 784 steps, a classic test
# of memory. The digits are real and come with a dependency; nothing is downloaded.

# %%
task = gf.tasks.psmnist(pool=course.size(1, 4))
net = gf.RecurrentSNN(task, hidden=course.size(128, 32), recurrence=gf.Vanilla(), neuron=gf.LIF(decay=0.5))
batch = task.sample(4)
layer = gf.local_jacobians(net, batch).layers[0]  # a, φ and V of the run, in float64
steps, samples, neurons = layer.a.shape
course.say(f"{steps} steps, {samples} digits, {neurons} neurons.")


# %%
def one_step(t, sample=0):
    """Return J[t] = A + V Φ of one digit."""
    return np.diag(layer.a[t, sample]) + layer.V * layer.phi[t, sample]


# %% [markdown]
# **Predict.** $V$ is a rotation: it keeps the length of every vector. $\varphi$ is at most 1, $a$ at most 0.5. By which
# factor does $J[t]$ change the length of a random vector, typically? (A number above 1 means growth.)

# %% tags=["prediction"]
typical = course.predict(0.6, what="typical factor of one step")

# %%
stream = np.random.default_rng(0)
times = np.arange(0, steps - 1, course.size(4, 1))
vectors = stream.standard_normal((len(times), neurons))
lengths = [np.linalg.norm(x @ one_step(t)) / np.linalg.norm(x) for t, x in zip(times, vectors, strict=True)]
fig, ax = plt.subplots()
ax.hist(lengths, bins=30, color="0.55")
typical.draw(ax, along="x")
ax.set(
    xlabel="length after one step back / length before",
    ylabel="number of steps",
    title="One step shrinks a gradient a little",
)
course.say(typical.against(np.exp(np.mean(np.log(lengths)))))

# %% [markdown]
# ### Exercise 1 ★ The Jacobian of one step
#
# Write `jacobian(a, phi, V)` for one step: `a` and `phi` are vectors, `V[i, j]` goes from sender `j` to receiver `i`.


# %% tags=["solution"]
def jacobian(a, phi, V):
    """Return A + V Φ."""
    return np.diag(a) + V @ np.diag(phi)


# %% tags=["check"]
course.check("one-step-jacobian", jacobian)

# %% [markdown]
# ## 2.2 Many steps: a product
#
# The chain rule multiplies:
#
# $$
# P(T,t) = \frac{\partial u[T]}{\partial u[t]} = J[T-1]\; J[T-2] \cdots J[t], \qquad P(T,T) = 1.
# $$
#
# Start at the last step and go back, one factor at a time. All of backpropagation through time is in this loop.


# %%
def norm(P):
    """Return ‖P‖ in float64; the squares of small numbers would underflow before the numbers do."""
    top = float(np.abs(P).max())
    return top * np.linalg.norm(P.astype(np.float64) / top) if top else 0.0


def norms_of_products(dtype):
    """Return ‖P(T,t)‖ for all lags T − t, multiplied out plainly in a number format."""
    P = np.eye(neurons, dtype=dtype)
    norms = [norm(P)]
    for t in range(steps - 2, -1, -1):
        P = P @ one_step(t).astype(dtype)
        norms.append(norm(P))
    return np.array(norms)


# %% [markdown]
# **Predict.** If each step keeps about the share you have just seen: which power of ten is $\|P\|$ over all steps of
# the digit? (For $10^{-30}$ type −30.)

# %% tags=["prediction"]
power = course.predict(-175 if steps > 200 else -10, what="‖P‖ over the whole digit", unit="powers of ten")

# %%
products = gf.jacobian_products(net, batch)  # log-norms, however small
curve = gf.curve_band(products).isel(layer=0)
fig, ax = plt.subplots()
gf.plots.decay_curves(curve, ax=ax, label="median and middle 80 % of the digits")
power.draw(ax, at=steps - 1)
ax.set_title("The gradient along time vanishes")
course.say(power.against(curve.centre.values[-1] / LOG10, powers=True))

# %% [markdown]
# A straight line in logarithms: the gradient decays by the same factor at each step. The **rate** is its slope, in nats
# per step; the **horizon** is the lag at which a thousandth is left, about as little as a training step can still use.

# %%
fit = gf.fit_decay(products).isel(layer=0)
course.say(
    f"Rate {fit.rate.item():.3f} nats per step: a factor of {np.exp(fit.rate.item()):.3f} each step, a half-life of "
    f"{fit.half_life.item():.1f} steps. After {fit.horizon.item():.0f} of {steps} steps a thousandth is left."
)

# %% [markdown]
# ## 2.3 Why float32 shows zero, and what the true number is
#
# Networks are trained in float32. Its smallest positive number is $2^{-149} \approx 1.4\cdot 10^{-45}$; anything much
# smaller becomes 0. This is called **underflow**.
#
# **Predict.** From which lag on is the product, multiplied out in float32, exactly 0?

# %% tags=["prediction"]
lost = course.predict(
    220 if steps > 200 else 200, what="the lag from which float32 has nothing but zeros", unit="steps"
)

# %%
plain = {"float32": norms_of_products(np.float32), "float64": norms_of_products(np.float64)}
lags = np.arange(steps)
fig, ax = plt.subplots()
gf.plots.decay_curves(curve, ax=ax, label="exact")
course.log_lines(ax, lags, {f"plain loop, {name}": norms for name, norms in plain.items()}, "∂u[T] / ∂u[t]")
lost.draw(ax, along="x")
gf.plots.float32_floor(ax)
ax.set_title("What number formats make of it")
zero_from = int(np.argmax(plain["float32"] == 0)) if (plain["float32"] == 0).any() else None
course.say(
    lost.against(zero_from)
    if zero_from
    else f"Here float32 never gives up: the digit has only {steps} steps. Nothing to compare."
)
course.say(
    f"The plain loop in float64 ends at $10^{{{np.log10(max(plain['float64'][-1], 5e-324)):.0f}}}$; the true number (of this "
    f"digit) is $10^{{{products.log_frobenius.values[0, 0, -1] / LOG10:.0f}}}$. "
    f"`gf.jacobian_products` keeps a binary exponent of its own for every row, so it has the number at any length."
)

# %% [markdown]
# In a printout both look alike: `0.0`. But "float32 cannot say it" and "there is nothing" are different statements. The
# true number, however small, still tells the rate, and what another span or gain would make of it.
#
# ### Exercise 2 ★ When does a format give up?
#
# Write `zero_lag(rate, smallest)`: a curve starts at 1 and decays by `rate` (negative, nats per step). At which lag does it
# pass `smallest`?


# %% tags=["solution"]
def zero_lag(rate, smallest):
    """Return the lag at which e^(rate · lag) is `smallest`."""
    return np.log(smallest) / rate


# %% tags=["check"]
course.check("zero-lag", zero_lag)

# %% [markdown]
# ### Exercise 3 ★★ Never underflow
#
# Write `log_norms(jacobians)`: given $J[T-1], J[T-2], \dots$ (a list, last step first) return $\log\|P\|$ (natural
# logarithm, Frobenius norm) after 1, 2, … factors, without underflow. Trick: divide $P$ by its norm after every step and
# keep the logarithm of what you divided by.


# %% tags=["solution"]
def log_norms(jacobians):
    """Return log ‖P‖ after each factor, with P rescaled to norm 1 all the time."""
    P, log, found = np.eye(len(jacobians[0])), 0.0, []
    for J in jacobians:
        P = P @ J
        norm = np.linalg.norm(P)
        P, log = P / norm, log + np.log(norm)
        found.append(log)
    return np.array(found)


# %% tags=["check"]
course.check("log-norms", log_norms)

# %% [markdown]
# ## 2.4 Two kinds of zero
#
# The other kind is real. A compact surrogate is exactly 0 outside its window, so a column of $V\Phi_t$ is exactly 0 for
# each neuron far from its threshold; and if no path is left between two neurons, their element of $P$ is a **structural
# zero** in every format.
#
# **Predict.** Which share of the elements of $P$ is zero *by structure* after 20 steps? (In percent.)

# %% tags=["prediction"]
share = course.predict(50, what="structural zeros after 20 steps", unit="%")

# %%
zeros = gf.zero_summary(products).isel(layer=0)
fig, ax = plt.subplots()
gf.plots.zero_shares(
    zeros[["share_structural", "share_float32"]], ax=ax, label="in float32, by structure or underflow"
)
ax.lines[1].set_label("by structure alone")
share.draw(ax, at=20)
ax.set_title("Two kinds of zero")
course.say(share.against(100 * zeros.share_structural.values[20]))

# %% [markdown]
# Structure takes its share early and then stays; underflow comes late and takes everything. Never drop either, and never
# add them up without saying so.
#
# ### Exercise 4 ★★ Count the structural zeros
#
# Write `structural_share(jacobians)` (a list, last step first): the share of elements of the product that are zero by
# structure, not by underflow.


# %% tags=["solution"]
def structural_share(jacobians):
    """Multiply the patterns of what is not zero."""
    reached = np.eye(len(jacobians[0]), dtype=bool)
    for J in jacobians:
        reached = reached @ (J != 0)
    return 1 - reached.mean()


# %% tags=["check"]
course.check("structural-zeros", structural_share)

# %% [markdown]
# ## 2.5 What backpropagation sees: the direct path
#
# A loss gradient and a Jacobian product are different things. Backpropagation computes $g[t] = \partial L/\partial u[t]$
# by going back in time:
#
# $$
# g[t] = \underbrace{\varphi[t]\circ e[t]}_{\text{direct}}
# + \underbrace{\varphi[t]\circ V^{\top} g[t+1]}_{\text{recurrent path}}
# + \underbrace{a[t]\circ g[t+1]}_{\text{neuron path}} .
# $$
#
# $e[t]$ is what the loss tells step $t$ **directly**. If the readout sums over all steps, every step has an $e[t]$ of its
# own, and $\|g[t]\|$ need not vanish at all. If the loss looks at the last step only, everything must come through the
# product.
#
# **Predict.** $\|\partial L/\partial u[t]\|$ in the middle of the digit, divided by the same halfway to the end (three
# quarters), for a readout that *sums*. (1: no decay. 0.1: a tenth.)

# %% tags=["prediction"]
direct = course.predict(1.0, what="gradient at half time / at three quarters, summed readout")

# %%
records = {place: gf.record(net, batch, loss_placement=place) for place in ("sum", "last")}
bands = {f"loss on {place}": norm_band(found).isel(layer=0) for place, found in records.items()}
losses = xr.concat(list(bands.values()), dim="loss", combine_attrs="drop").assign_coords(loss=list(bands))
fig, ax = plt.subplots()
gf.plots.gradient_norms(losses, ax=ax, label="{value}")
window = max(steps // 20, 1)  # a digit has bright and dark stretches: average over some steps
summed = np.exp(losses.centre.values[0])
middle, late = summed[steps // 2 :][:window].mean(), summed[3 * steps // 4 :][:window].mean()
direct.draw(ax, at=steps // 2, scale=lambda guess: np.log10(guess * late))
ax.set_title("Same network, two losses")
course.say(direct.against(middle / late))
zero_steps = int((records["last"].grad_u.isel(layer=0) == 0).all("sample").sum())
course.say(
    f"With the loss on the last step, the first {zero_steps} of {steps} steps get a gradient of exactly 0 in float32, for every "
    f"digit. With the sum, none does. **So a healthy gradient norm does not show that a network can learn a long memory.** "
    f"It may be the direct path alone."
)

# %% [markdown]
# ### Exercise 5 ★★★ Backpropagation by hand
#
# Write `backward(a, phi, V, e)`: from `a`, `phi`, `e`, each (time, neuron), to `g`, (time, neuron). After the last step
# there is nothing. The check compares with autograd.


# %% tags=["solution"]
def backward(a, phi, V, e):
    """Return g[t] for all t, going back in time."""
    g = np.zeros_like(e)
    later = np.zeros(e.shape[1])
    for t in range(len(e) - 1, -1, -1):
        g[t] = phi[t] * (e[t] + V.T @ later) + a[t] * later
        later = g[t]
    return g


# %% tags=["check"]
course.check("adjoint", backward)

# %% [markdown]
# ## 2.6 Predict the rate from the forward pass
#
# Can one know the rate without going back at all? A rough theory: pretend that $V$ is drawn anew at every step and that
# neurons are alike. Then the mean square of $P$ is multiplied at each step by
#
# $$
# \rho = \mathbb{E}\,a^2 + g^2\,\mathbb{E}\,\varphi^2, \qquad g^2 = \|V\|_F^2/H, \qquad \text{rate} = \tfrac12\log\rho .
# $$
#
# It is called the **mean-square** prediction. A **bound**, which no product can exceed, follows in the same way from the
# largest values instead of the mean squares; it is safe and says little.
#
# A rotation has $g = 1$. The two moments come from the forward pass:

# %%
a_square, phi_square = (layer.a[:-1] ** 2).mean(), (layer.phi[:-1] ** 2).mean()
course.say(f"E a² = {a_square:.3f}, E φ² = {phi_square:.3f}.")

# %% [markdown]
# **Predict.** Which rate? (Half a logarithm: a pocket calculator will do.)

# %% tags=["prediction"]
guess = course.predict(-0.55, what="mean-square rate", unit="nats per step")

# %%
theory = gf.theory.mean_square(products)
upper = gf.theory.bound(products)
fig, ax = plt.subplots()
gf.plots.decay_curves(curve, theory=theory.isel(layer=0), ax=ax, label="measured (dashed: mean square)")
ax.plot(
    lags, upper.log_bound_frobenius.isel(layer=0).median("sample") / LOG10, ":", color="0.3", label="bound"
)
guess.draw_slope(ax, (0, 0.5 * np.log10(neurons)), steps - 1, scale=1 / LOG10)
ax.set(ylim=(1.2 * curve.centre.values[-1] / LOG10, 20), title="Predicted from forward statistics")
ax.legend(loc="lower left")
course.say(guess.against(theory.rate.item()))
course.say(
    f"Measured {fit.rate.item():.3f}, mean square {theory.rate.item():.3f}, bound "
    f"{upper.rate.median().item():+.3f} nats per step. The bound even allows growth."
)

# %% [markdown]
# The mean square is off by some percent, since the same $V$ is used at every step and neurons differ. What mends it is the
# *transfer operator*, `gf.theory.transfer_operator`, which you meet in the next notebook as a dashed line.
#
# ### Exercise 6 ★★★ The mean-square rate
#
# Write `mean_square_rate(a, phi, V)` with `a` and `phi` (time, neuron).


# %% tags=["solution"]
def mean_square_rate(a, phi, V):
    """Return ½ log (E a² + g² E φ²)."""
    gain_square = np.sum(V**2) / len(V)
    return 0.5 * np.log(np.mean(a**2) + gain_square * np.mean(phi**2))


# %% tags=["check"]
course.check("mean-square-rate", mean_square_rate)

# %% [markdown]
# ## 2.7 Play
#
# A smaller network (48 neurons, 196 steps) that is run anew with every move. Find two ways to slow the decay down, and
# look what each does to the zeros. Where does the mean-square line (dashed) leave the measured one?

# %% tags=["sliders"]
course.explore_product()

# %% [markdown]
# ## Questions
#
# 1. A paper plots $\|\partial L/\partial u[t]\|$ with logits summed over time, finds no decay, and concludes that its
#    network does not suffer from vanishing gradients. What would you ask for?
# 2. Would float64 training help a vanilla network to learn over 784 steps?
# 3. A larger gain of $V$ slows the decay. Why not choose the gain at which the rate is 0?
# 4. Loss scaling, as in mixed-precision training, multiplies the loss by $2^{16}$. By how many steps does that push back
#    the lag at which float32 gives up?
#
# ## Further reading
#
# - Hochreiter & Schmidhuber 1997, *Long short-term memory*, Neural Computation 9 (8). Error signals that flow back in time
#   through an ordinary recurrence blow up or vanish exponentially; a memory with a constant path prevents it.
# - Bengio, Simard & Frasconi 1994, *Learning long-term dependencies with gradient descent is difficult*, IEEE Transactions
#   on Neural Networks 5 (2). A network that stores information robustly must have gradients that vanish along time.
# - Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*,
#   [arXiv:1211.5063](https://arxiv.org/abs/1211.5063). If the largest singular value of the recurrent matrix, times the
#   largest slope, is below 1, gradients must vanish: the bound of 2.6.
# - Neftci, Mostafa & Zenke 2019, [arXiv:1901.09948](https://arxiv.org/abs/1901.09948). The same unrolling for spiking
#   networks, with surrogate derivatives.
#
# **Next**: [3 · Skip spans](3-spans.ipynb): the same product with a hundred factors fewer.
