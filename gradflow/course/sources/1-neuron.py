# %% [markdown]
# # 1 · A spiking neuron and its gradient
#
# **After this you can**
#
# - run a leaky integrate-and-fire neuron by hand, step by step;
# - say why a spike has no useful derivative, and what a surrogate puts in its place;
# - compute the factor a[t] by which one step multiplies a gradient;
# - name the three faces of the reset, and say which of them kills the gradient.
#
# **Time**: about 45 minutes. **You need**: Python, some PyTorch, the chain rule. No neuroscience.
#
# How to work: before each run you are asked for a **prediction**. Type a number, then run. Your guess is drawn over the
# result. A wrong guess costs nothing, and you will remember it better than a right answer you have only read.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import gradflow as gf
from gradflow import course

course.begin()

# %% [markdown]
# ## 1.1 One step
#
# A neuron carries one number from step to step, its **potential**. At each step three things happen:
#
# $$
# u[t] = \alpha\, v[t-1] + I[t], \qquad
# s[t] = \begin{cases}1 & u[t] \ge \theta\\ 0 & \text{else}\end{cases}, \qquad
# v[t] = u[t] - \theta\, s[t].
# $$
#
# It **leaks** (only a share $\alpha$ of the old potential is kept) and **integrates** the current $I[t]$. If that
# reaches the threshold $\theta$ it **fires**: $s[t] = 1$, a *spike*. Then it is **reset**: the threshold is subtracted.
# That is all. A network is many of these, with matrices between them.


# %%
def run(current, decay=0.5, threshold=1.0):
    """Run one neuron on a current; return its potentials before the reset, and its spikes."""
    v, potentials, spikes = 0.0, [], []
    for I in current:
        u = decay * v + I  # leak, then integrate
        s = float(u >= threshold)  # fire
        v = u - threshold * s  # reset
        potentials.append(u)
        spikes.append(s)
    return np.array(potentials), np.array(spikes)


# %% [markdown]
# **Predict.** A constant current of 0.4 flows in, and $\alpha = 0.5$. The potential climbs and settles. Where?

# %% tags=["prediction"]
level = course.predict(0.8, what="the potential at which the neuron settles", unit="θ")

# %%
u, s = run(np.full(20, 0.4))
fig, ax = plt.subplots()
course.potential(ax, u, s)
level.draw(ax)
ax.set_title("A current too small to fire")
ax.legend(loc="lower right")
course.say(level.against(u[-1]))

# %% [markdown]
# Each step it loses half and gains 0.4. It settles where loss and gain are equal, at $u = I/(1-\alpha)$. Below the
# threshold a neuron is a running average that forgets.
#
# **Predict.** Now a current of 0.6. How many spikes in 30 steps?

# %% tags=["prediction"]
count = course.predict(10, what="spikes in 30 steps", unit="spikes")

# %%
u, s = run(np.full(30, 0.6))
fig, ax = plt.subplots()
course.potential(ax, u, s)
ax.set_title(f"{s.sum():.0f} spikes in {len(s)} steps")
ax.legend(loc="lower right")
course.say(count.against(s.sum()))

# %% [markdown]
# ### Exercise 1 ★ One step by hand
#
# Write the three equations as a function `step(v, current, decay, threshold)` that returns `(u, s, v)`, the new
# potential, the spike and the potential after the reset.


# %% tags=["solution"]
def step(v, current, decay, threshold):
    """Return (u, s, v) after one step."""
    u = decay * v + current
    s = float(u >= threshold)
    return u, s, u - threshold * s


# %% tags=["check"]
course.check("one-step", step)

# %% [markdown]
# ## 1.2 From current to rate
#
# Count spikes for many currents and you have the neuron's answer to its input: its *firing rate*.
#
# **Predict.** Which is the smallest constant current that ever makes it fire? ($\alpha = 0.5$, $\theta = 1$)

# %% tags=["prediction"]
smallest = course.predict(0.5, what="the smallest current that makes it fire", unit="θ")

# %%
amounts = np.linspace(0.0, 1.2, course.size(241, 61))
rates = np.array([run(np.full(200, amount))[1].mean() for amount in amounts])
fig, ax = plt.subplots()
ax.plot(amounts, 100 * rates, color="black")
smallest.draw(ax, along="x")
ax.set(
    xlabel="constant current $I$  (units of θ)",
    ylabel="firing rate  (% of steps)",
    title="The rate is a staircase",
)
first = amounts[rates > 0][0]
course.say(smallest.against(first))

# %% [markdown]
# Look at the staircase. Between two steps of it the rate does not change at all: its derivative is 0. At a step it
# jumps: there is no derivative. Gradient descent has nothing to follow here. Keep that in mind for 1.3.
#
# ### Exercise 2 ★ The smallest current
#
# Write `smallest_current(decay, threshold)`.


# %% tags=["solution"]
def smallest_current(decay, threshold):
    """Return the constant current at which the potential settles on the threshold."""
    return threshold * (1 - decay)


# %% tags=["check"]
course.check("rheobase", smallest_current)

# %% [markdown]
# ## 1.3 A derivative for the spike
#
# The spike is a step function of $x = u - \theta$. Its true derivative is 0 everywhere, and undefined at 0. So one
# computes the spike exactly **forward**, and **backward** pretends that its derivative is a bump, the *surrogate
# derivative* $\varphi$:
#
# $$
# \text{forward: } s = 1(x \ge 0), \qquad \text{backward: } \frac{\partial s}{\partial u} := \varphi(x) = \max(0,\ 1 - |x|).
# $$
#
# This one is the **triangle**. It says: close to the threshold a small change of $u$ might have made a difference; far
# from it, none. The stretch in which $\varphi$ is not 0 is called the **window**.
#
# **Predict.** What is $\varphi$ for $u = 0.25,\ 0.75,\ 1.25$ and $2.5$, with $\theta = 1$?

# %% tags=["prediction"]
bump = course.predict([0.25, 0.75, 0.75, 0.0], what="φ at u = 0.25, 0.75, 1.25, 2.5")

# %%
x = np.linspace(-2, 2, 401)
triangle = gf.Triangle()
phi = triangle.derivative(torch.as_tensor(x)).numpy()
twin = triangle.twin(torch.as_tensor(x)).numpy()
fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4))
course.against_potential(left, x, {"spike (forward)": (x >= 0) * 1.0, "smooth twin": twin}, "spike $s$")
course.against_potential(right, x, {"triangle φ (backward)": phi}, "surrogate derivative  $φ$")
places = np.array([0.25, 0.75, 1.25, 2.5]) - 1.0
bump.draw(right, at=places)
course.say(bump.against(triangle.derivative(torch.as_tensor(places)).numpy()))

# %% [markdown]
# The dashed curve on the left is the **smooth twin**: the function whose *true* derivative $\varphi$ is. Training with a
# surrogate means to walk the network forward with the step, and down the slope of the twin.
#
# ### Exercise 3 ★★ Another bump
#
# Write the rectangle: `rectangle(x, width)` is constant for $|x| < \text{width}/2$, zero outside, and its area is 1.


# %% tags=["solution"]
def rectangle(x, width):
    """Return 1/width inside the window, 0 outside."""
    return 1 / width if abs(x) < width / 2 else 0.0


# %% tags=["check"]
course.check("rectangle", rectangle)

# %% [markdown]
# ## 1.4 One step back in time
#
# Training asks: *had the potential at step t been a little higher, how would it be at step t+1?* Follow the equations:
# $u[t]$ acts on $v[t]$, which acts on $u[t+1]$ through the leak $\alpha$. And $v[t] = u[t] - \theta s[t]$ depends on
# $u[t]$ twice: directly, and through the spike. With $\varphi$ for the derivative of the spike:
#
# $$
# a[t] \;=\; \frac{\partial u[t+1]}{\partial u[t]} \;=\; \alpha\,\bigl(1 - \theta\,\varphi[t]\bigr).
# $$
#
# Over many steps these factors multiply, $\;\partial u[T]/\partial u[t] = a[T-1] \cdots a[t]$. That is the **chain rule
# along time**, and the reason for this whole course: a product of many numbers below 1 is nearly nothing.
#
# **Predict.** A neuron that gets no current at all sits at $u = 0$, outside its window, so $a = \alpha = 0.5$. Which power
# of ten is left of a gradient after 60 steps? (For $10^{-3}$ type −3.)

# %% tags=["prediction"]
silent = course.predict(
    -18, what="what a silent neuron leaves of a gradient after 60 steps", unit="powers of ten"
)

# %%
steps = 60
quiet = course.run_neuron(np.zeros(steps), gf.LIF(decay=0.5))
busy = course.run_neuron(np.full(steps, 0.6), gf.LIF(decay=0.5))
lags = np.arange(1, steps + 1)
kept = {label: np.cumprod(found.a[::-1]) for label, found in (("silent", quiet), ("firing", busy))}
fig, ax = plt.subplots()
course.log_lines(ax, lags, kept, "∂u[T] / ∂u[t]")
silent.draw(ax, at=steps)
ax.set(xlabel="lag $T - t$  (steps)", title="Two neurons forget")
at_end = {name: np.log10(np.abs(found.a)).sum() for name, found in (("quiet", quiet), ("busy", busy))}
course.say(silent.against(at_end["quiet"], powers=True))
course.say(
    f"The neuron that fires keeps far less, $10^{{{at_end['busy']:.0f}}}$: it sits in its window, $\\varphi$ is large, and "
    f"$a = \\alpha (1 - \\theta\\varphi)$ is on average (geometric mean) {10 ** (at_end['busy'] / steps):.3f} instead of "
    f"{0.5:.3f}. **What lets a gradient through the spike takes it away from the neuron's own memory.**"
)

# %% [markdown]
# ## 1.5 The three faces of the reset
#
# Every library has a reset, and they differ silently. It shows
#
# 1. a **soft** face: subtract the threshold, $v = u - \theta s$;
# 2. a **hard** face: start again at zero, $v = u\,(1 - s)$;
# 3. a **hidden** face: *detached*. Forward it is soft or hard, but the gradient is not told about it: $s$ in the reset
#    counts as a constant.
#
# $$
# a = \begin{cases}
# \alpha\,(1 - \theta\varphi) & \text{soft, attached}\\
# \alpha\,(1 - s - u\,\varphi) & \text{hard, attached}\\
# \alpha \quad\text{or}\quad \alpha\,(1 - s) & \text{detached, soft or hard}
# \end{cases}
# $$
#
# **Predict.** The neuron sits exactly at the threshold, $u = \theta = 1$, and just fires; $\alpha = 0.5$. What is $a$ for a
# soft attached, a hard attached and a soft detached reset?

# %% tags=["prediction"]
faces = course.predict([0.0, -0.5, 0.5], what="a at the threshold: soft, hard, detached")

# %%
above = torch.linspace(-1.5, 1.5, 601, dtype=torch.float64)
kinds = {
    "soft, attached": gf.LIF(),
    "hard, attached": gf.LIF(reset=gf.Reset.HARD),
    "soft, detached": gf.LIF(detach_reset=True),
    "hard, detached": gf.LIF(reset=gf.Reset.HARD, detach_reset=True),
}


def factor(neuron, x):
    """Return a for potentials x above the threshold, as the library has it."""
    dynamics = neuron.build(1, None).dynamics(x)
    u = x + neuron.threshold
    return dynamics.local(u, (x >= 0).double(), dynamics.phi(u)).numpy()


curves = {label: factor(neuron, above) for label, neuron in kinds.items()}
fig, ax = plt.subplots()
course.against_potential(ax, above.numpy(), curves, "neuron path  $a$  ($α = 0.5$)")
faces.draw(ax, at=[0.0, 0.0, 0.0])
ax.set_title("What one step keeps of a gradient")
just = torch.zeros(1, dtype=torch.float64)  # exactly at the threshold
truth = [
    factor(kinds[label], just).item() for label in ("soft, attached", "hard, attached", "soft, detached")
]
course.say(faces.against(truth))

# %% [markdown]
# At the threshold the soft attached reset keeps **nothing**, the hard one turns the **sign** around, the detached one does
# not notice. The same network, the same spikes, and three different gradients. So whoever shows you a decay curve must
# say which reset it was; every file of gradflow does.
#
# **Predict.** The firing neuron from above, current 0.6, 60 steps, now with a *soft, detached* reset. Which power of ten
# is left?

# %% tags=["prediction"]
detached = course.predict(
    -18, what="what a firing neuron with a detached reset leaves after 60 steps", unit="powers of ten"
)

# %%
runs = {label: course.run_neuron(np.full(steps, 0.6), neuron) for label, neuron in kinds.items()}
kept = {label: np.cumprod(found.a[::-1]) for label, found in runs.items()}
fig, ax = plt.subplots()
course.log_lines(ax, lags, kept, "∂u[T] / ∂u[t]")
detached.draw(ax, at=steps)
ax.set(xlabel="lag $T - t$  (steps)", title="One neuron, four resets")
left_over = {label: np.log10(abs(kept[label][-1])) for label in ("soft, detached", "soft, attached")}
course.say(detached.against(left_over["soft, detached"], powers=True))
course.say(
    f"Attached, it was $10^{{{left_over['soft, attached']:.0f}}}$. With a *hard, detached* reset the first spike on the way "
    f"back multiplies by exactly 0, and its curve ends there: $s = 1$ gives $a = 0$."
)

# %% [markdown]
# ### Exercise 4 ★★ The hard reset
#
# Write `hard_factor(u, decay, threshold)`: $a$ for an attached hard reset and the triangle of width 1.


# %% tags=["solution"]
def hard_factor(u, decay, threshold):
    """Return ∂u[t+1]/∂u[t] for v = u (1 − s)."""
    s = float(u >= threshold)
    phi = max(0.0, 1.0 - abs(u - threshold))
    return decay * (1 - s - u * phi)


# %% tags=["check"]
course.check("hard-reset", hard_factor)

# %% [markdown]
# ### Exercise 5 ★★★ All lags at once
#
# Given the factors $a[0], \dots, a[T]$ of a run, write `all_lags(a)` that returns $\partial u[T]/\partial u[t]$ for every
# $t = 0, \dots, T$, an array as long as `a`. One pass over the factors is enough. (This is backpropagation through time.)
# The check compares it with PyTorch's autograd.


# %% tags=["solution"]
def all_lags(a):
    """Return ∂u[T]/∂u[t] for all t, going back from t = T."""
    found = np.ones(len(a))
    for t in range(len(a) - 2, -1, -1):
        found[t] = found[t + 1] * a[t]
    return found


# %% tags=["check"]
course.check("all-lags", all_lags)

# %% [markdown]
# ## 1.6 Can one trust a surrogate gradient?
#
# Not by finite differences on the spiking neuron: nudge the current, and nothing or a whole spike happens. But the smooth
# twin in place of the step makes the same equations differentiable, and then numbers must agree. Every gradient in
# gradflow is tested that way.
#
# **Predict.** Nudge the current at $t = 0$ of the *spiking* neuron (current 0.6) by $\pm 10^{-6}$. What slope of $u[2]$ do
# finite differences find? (No step is near enough to the threshold to change a spike.)

# %% tags=["prediction"]
hard_slope = course.predict(0.25, what="finite differences on the spiking neuron")


# %%
def last_potential(current, neuron):
    """Return the potential at the last step."""
    return course.run_neuron(current, neuron).u[-1]


current, nudge = np.full(3, 0.6), np.array([1e-6, 0.0, 0.0])
slopes = {}
for label, surrogate in (("spiking", gf.Triangle()), ("smooth", gf.SmoothTwin(gf.Triangle()))):
    neuron = gf.LIF(decay=0.5, surrogate=surrogate)
    differences = last_potential(current + nudge, neuron) - last_potential(current - nudge, neuron)
    slopes[label] = differences / 2e-6, np.prod(course.run_neuron(current, neuron).a[:-1])
fig, ax = plt.subplots()
bars = {"spiking,\nfinite differences": slopes["spiking"][0], "spiking,\nsurrogate": slopes["spiking"][1]}
bars |= {
    "smooth twin,\nfinite differences": slopes["smooth"][0],
    "smooth twin,\nsurrogate": slopes["smooth"][1],
}
ax.bar(list(bars), list(bars.values()), color=["0.75", "0.35", "0.75", "0.35"], width=0.6)
hard_slope.draw(ax, at=0)
ax.set(ylabel=r"$\partial u[2]\,/\,\partial I[0]$", title="Nudged, and by the chain rule")
course.say(hard_slope.against(slopes["spiking"][0]))
course.say(
    f"The spiking neuron's finite differences give {slopes['spiking'][0]:.4f}, its surrogate gradient "
    f"{slopes['spiking'][1]:.4f}: two different things. On the smooth twin both give {slopes['smooth'][0]:.6f} and "
    f"{slopes['smooth'][1]:.6f}: the chain rule is right, it only describes another network."
)

# %% [markdown]
# ### Exercise 6 ★★★ Finite differences
#
# Write `slope(run, current, t)`: the derivative of `run(current)`, a number, with respect to `current[t]`, by central
# differences. The check gives you a smooth neuron and compares with autograd.


# %% tags=["solution"]
def slope(run, current, t):
    """Return (run(… + h) − run(… − h)) / 2h."""
    h = 1e-5
    up, down = current.copy(), current.copy()
    up[t] += h
    down[t] -= h
    return (run(up) - run(down)) / (2 * h)


# %% tags=["check"]
course.check("smooth-twin", slope)

# %% [markdown]
# ## 1.7 Play
#
# Move the sliders. Find a setting in which the neuron fires but $a[t]$ stays at $\alpha$ most of the time. (What does that
# do to the gradient *through* the spikes?) Without widgets you see three settings.

# %% tags=["sliders"]
course.explore_neuron()

# %% [markdown]
# ## Questions
#
# 1. Why must the forward pass keep the hard step? What would a network of smooth twins lose?
# 2. A narrow surrogate leaves $a[t] = \alpha$ nearly always. Then why not make it as narrow as possible?
# 3. You read a decay curve in a paper that does not name its reset. By how many powers of ten can you be wrong after 60
#    steps?
# 4. $\alpha \to 1$ makes the neuron path perfect. What does the neuron then do to its input?
#
# ## Further reading
#
# - Neftci, Mostafa & Zenke 2019, *Surrogate gradient learning in spiking neural networks*,
#   [arXiv:1901.09948](https://arxiv.org/abs/1901.09948). Spiking networks are recurrent networks, and a surrogate
#   derivative lets them be trained as such.
# - Zenke & Ganguli 2018, *SuperSpike: supervised learning in multi-layer spiking neural networks*,
#   [arXiv:1705.11146](https://arxiv.org/abs/1705.11146). Layers of deterministic leaky integrate-and-fire neurons can be
#   trained with a surrogate in place of the spike's derivative.
# - Eshraghian et al. 2023, *Training spiking neural networks using lessons from deep learning*,
#   [arXiv:2109.12894](https://arxiv.org/abs/2109.12894). A tutorial from one neuron to trained networks.
# - *ASRC-SNN: Adaptive skip recurrent connection spiking neural network*, 2025,
#   [arXiv:2505.11455](https://arxiv.org/abs/2505.11455). Neuron and recurrence form one system whose gradient vanishes
#   along time; skipping steps slows that down. The networks of this course are theirs.
#
# **Next**: [2 · Backpropagation through time as a product](2-product.ipynb).
