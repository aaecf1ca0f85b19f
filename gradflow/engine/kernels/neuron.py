"""The neuron model of `neurons.dynamics` as formulas over rows: a step forward, a step back, measures.

u = c + drive + gate · V ŝ          s = 1(u ≥ θ)          c ← κ u (1 − m s) − r s
g = φ ∂L/∂s + κ (1 − m s) g' + …    ∂L/∂s = e + Vᵀ h + ∂c/∂s g'     g' = g[t+1]
"""

from typing import Any, no_type_check

from gradflow.engine.kernels.rows import row_formula, row_sums, row_totals

COEFFICIENTS = ("leak", "multiplied", "subtracted", "threshold")


@no_type_check
def _spike(u, threshold):
    return (u - threshold).chosen(">=", 0.0, 1.0, 0.0)


@row_formula(("drive", "recurrent", "gate", "carry", *COEFFICIENTS), ("u", "s", "carry"))
@no_type_check
def advance(drive, recurrent, gate, carry, leak, multiplied, subtracted, threshold):
    """Return u, s and the next c."""
    u = (carry + drive) + gate * recurrent
    s = _spike(u, threshold)
    return u, s, leak * u * (1.0 - multiplied * s) - subtracted * s


@no_type_check
def _triangle(x, given, height):
    return (1.0 - x.absolute() * height).chosen(">", 0.0, 1.0 - x.absolute() * height, 0.0) * height


@no_type_check
def _rectangle(x, given, height):
    # |x| < width / 2, with the width as 1 / height
    return (x.absolute() * 2.0 * height).chosen("<", 1.0, height, 0.0)


@no_type_check
def _given(x, given, height):
    return given


@no_type_check
def _retreat(surrogate) -> Any:
    @row_formula(
        ("u", "direct", "recurrent", "later", "arriving", "gate", "given", *COEFFICIENTS),
        ("g", "gated", "phi", "at_spike"),
        ("height", "attached"),
    )
    @no_type_check
    def retreat(
        u,
        direct,
        recurrent,
        later,
        arriving,
        gate,
        given,
        leak,
        multiplied,
        subtracted,
        threshold,
        height,
        attached,
    ):
        s = _spike(u, threshold)
        phi = surrogate(u - threshold, given, height)
        reset = (leak * multiplied * u + subtracted) * attached
        at_spike = direct + recurrent - reset * later
        g = phi * at_spike + leak * (1.0 - multiplied * s) * later + arriving
        return g, gate * g, phi, at_spike

    return retreat


retreat_triangle = _retreat(_triangle)
retreat_rectangle = _retreat(_rectangle)
retreat_given = _retreat(_given)


@row_formula(("one", "other"), ("sum",))
@no_type_check
def add_rows(one, other):
    """Return the sum of two rows."""
    return (one + other,)


@row_sums(("u", "later", "phi", "at_spike", *COEFFICIENTS))
@no_type_check
def learn(u, later, phi, at_spike, leak, multiplied, subtracted, threshold):
    """Return a row's share of ∂L/∂κ, ∂L/∂m, ∂L/∂r and ∂L/∂θ (of the spike: a soft reset has its own r)."""
    s = _spike(u, threshold)
    kept = later * u
    return kept * (1.0 - multiplied * s), -(kept * leak * s), -(later * s), -(phi * at_spike)


MEASURES = (
    "grad_u",
    "grad_s",
    "grad_u_neuron",
    "grad_u_recurrent",
    "grad_u_direct",
    "grad_s_neuron",
    "grad_s_recurrent",
    "grad_s_direct",
    "zero_share",
    "firing_rate",
    "window",
)
"""What is measured of a row, in this order: eight Euclidean norms, then three shares of neurons."""
NORMS = 8


@no_type_check
def parts(direct, recurrent, later, phi, at_spike, g, reset, kept):
    """Return the eight parts whose norms are measured; `reset` is ∂c/∂s and `kept` is κ (1 − m s)."""
    through = reset * later
    own = kept * later + phi * through
    return g, at_spike, own, phi * recurrent, phi * direct, through, recurrent, direct


@row_totals(
    ("u", "direct", "recurrent", "later", "g", "phi", "at_spike", *COEFFICIENTS),
    NORMS,
    len(MEASURES) - NORMS,
    ("attached", "limit"),
)
@no_type_check
def observe(
    u, direct, recurrent, later, g, phi, at_spike, leak, multiplied, subtracted, threshold, attached, limit
):
    """Return the eight parts, and 1 where g is 0, where s is 1, and where |φ| > limit."""
    s = _spike(u, threshold)
    reset = -((leak * multiplied * u + subtracted) * attached)
    found = parts(direct, recurrent, later, phi, at_spike, g, reset, leak * (1.0 - multiplied * s))
    shares = (g.chosen("==", 0.0, 1.0, 0.0), s, phi.absolute().chosen(">", limit, 1.0, 0.0))
    return *found, *shares
