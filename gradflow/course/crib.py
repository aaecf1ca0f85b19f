"""The crib sheet: the formulas of the course on one page, in the symbols of its notebooks.

Held once, as formulas (mathtext, a subset of LaTeX) with their words; written as Markdown, HTML or PDF.
"""

import base64
import html
import io
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.mathtext import math_to_image

from gradflow.plots.style import style

TITLE = "Gradients along time in recurrent spiking networks: the formulas"
A4 = (8.27, 11.69)
"""Inches."""
SYMBOLS = (
    "u potential, s spike, v potential after the reset, I current, V recurrent matrix (H × H), α decay, "
    "θ threshold, φ surrogate derivative, λ span, p weights of spans, c their logits, τ temperature, "
    "T − t = n lag, e direct gradient from the layer above, ∘ product element by element"
)


class Row(NamedTuple):
    """One formula and what it says."""

    formula: str
    words: str


class Part(NamedTuple):
    """Formulas under one heading."""

    title: str
    rows: tuple[Row, ...]


PARTS = (
    Part(
        "One neuron, one step (notebook 1)",
        (
            Row(
                r"u[t] = \alpha\,v[t-1] + I[t] + V\,\hat{s}[t]",
                "leak, add the current and the spikes read back",
            ),
            Row(
                r"s[t] = 1(u[t] \geq \theta), \quad \partial s/\partial u \leftarrow \varphi(u-\theta)",
                "fire; backward, the surrogate",
            ),
            Row(r"v[t] = u[t] - \theta\,s[t] \quad\mathrm{or}\quad u[t]\,(1-s[t])", "reset: soft, or hard"),
            Row(
                r"\varphi(x) = \max(0,\, 1-\vert x\vert /w)\,/\,w",
                "triangle of width w; 0 outside its window",
            ),
        ),
    ),
    Part(
        "Which spikes are read (notebooks 3 and 4)",
        (
            Row(r"\hat{s}[t] = \sum_d p_d\,s[t-d]", "vanilla: p₁ = 1;  SRC: p at λ is 1"),
            Row(
                r"p = \mathrm{softmax}(c/\tau), \quad \tau \leftarrow 0.96\,\tau",
                "ASRC in training; evaluated at argmax c",
            ),
        ),
    ),
    Part(
        "One step back (notebooks 1 and 2)",
        (
            Row(r"a[t] = \alpha\,(1-\theta\varphi[t])", "soft reset, attached"),
            Row(r"a[t] = \alpha\,(1-s[t]-u[t]\,\varphi[t])", "hard reset, attached"),
            Row(r"a[t] = \alpha \quad\mathrm{or}\quad \alpha\,(1-s[t])", "detached: soft, or hard"),
            Row(
                r"\partial u[t+1]/\partial u[t] \ni A_t, \quad \partial u[t+d]/\partial u[t] \ni p_d V\Phi_t",
                "neuron path and recurrent path, A = diag a, Φ = diag φ",
            ),
        ),
    ),
    Part(
        "Many steps back (notebook 2)",
        (
            Row(
                r"P(T,t) = P(T,t+1)A_t + \sum_d p_d\,P(T,t+d)\,V\Phi_t",
                "Jacobian product ∂u[T]/∂u[t], P(T,T) = 1",
            ),
            Row(
                r"g[t] = \varphi[t]\circ(e[t] + \sum_d p_d V^{\top} g[t+d]) + a[t]\circ g[t+1]",
                "backpropagation: g = ∂L/∂u; e is the direct path",
            ),
            Row(
                r"\partial L/\partial V = \sum_t g[t]\,\hat{s}[t]^{\top}, \quad "
                r"\partial L/\partial p_d = \sum_t g[t]^{\top} V s[t-d]",
                "what the weights and the spans learn from",
            ),
            Row(
                r"2^{-149} \approx 1.4\cdot 10^{-45}",
                "smallest float32: below it underflow, not a zero of structure",
            ),
        ),
    ),
    Part(
        "How fast it decays (notebooks 2 and 3)",
        (
            Row(r"x_n = a\,x_{n-1} + b\,\sum_d p_d\,x_{n-d}, \quad x_n \sim \rho^n", "the scalar recursion"),
            Row(
                r"z^{\lambda} = a\,z^{\lambda-1} + b",
                "SRC: ρ is the largest root;  ρ to the λ ≈ b/(1−a) for a wide span",
            ),
            Row(
                r"a = \max\vert a[t]\vert, \;\; b = \Vert V\Vert_2\,\max\varphi",
                "the bound: no product is larger",
            ),
            Row(
                r"a = \mathrm{E}a^2,\;\; b = g^2\,\mathrm{E}\varphi^2,\;\; "
                r"p_d \to p_d^2,\;\; g^2 = \Vert V\Vert_F^2/H",
                "the mean square: rate = ½ log ρ nats per step",
            ),
            Row(
                r"\mathrm{rate} \approx \max(\log\alpha,\; -\mathrm{const}/\lambda)",
                "neuron path or recurrent path: the slower decay wins",
            ),
            Row(r"N(n,k) = C(n-k(\lambda-1),\,k)", "routes over n steps with k hops; at most n/λ hops"),
        ),
    ),
    Part(
        "What to do with it (notebooks 5 and 6)",
        (
            Row(
                r"n^{*} \approx \log(10^{-3})\,/\,\mathrm{rate}",
                "horizon: the lag at which a thousandth is left",
            ),
            Row(
                r"g^{*} = \sqrt{(1-\mathrm{E}a^2)\,/\,(\mathrm{E}\varphi^2\sum_d p_d^2)}",
                "critical gain: the mean square neither grows nor decays",
            ),
            Row(
                r"\mathrm{loss\;at\;every\;step} \;\Rightarrow\; \Vert g[t]\Vert\;\mathrm{need\;not\;decay}",
                "so look at P, or put the loss on the last step",
            ),
        ),
    ),
)


def as_markdown() -> str:
    """Return the crib sheet as Markdown with LaTeX formulas, as a code host shows it."""
    lines = [f"# {TITLE}", "", f"{SYMBOLS}.", ""]
    for part in PARTS:
        lines += [f"## {part.title}", "", "| formula | in words |", "|---|---|"]
        lines += [f"| ${row.formula}$ | {row.words} |" for row in part.rows]
        lines.append("")
    return "\n".join(lines)


def as_html() -> str:
    """Return the crib sheet as a page of its own: formulas are pictures, with LaTeX as alternative text."""
    parts = []
    for part in PARTS:
        rows = "".join(
            f"<tr><td>{_picture(row.formula)}</td><td>{html.escape(row.words)}</td></tr>" for row in part.rows
        )
        parts.append(f"<h2>{html.escape(part.title)}</h2><table>{rows}</table>")
    look = (
        "body{font:15px sans-serif;max-width:60em;margin:1em auto;padding:0 1em;color:#111;background:#fff}"
        "h1{font-size:1.3em}h2{font-size:1em;margin:1em 0 .2em}"
        "td:first-child{width:27em}td{padding:.15em 1em .15em 0;vertical-align:middle}img{max-width:100%}"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{look}</style></head>'
        f"<body><h1>{TITLE}</h1><p>{html.escape(SYMBOLS)}.</p>{''.join(parts)}</body></html>\n"
    )


def _picture(formula: str) -> str:
    """Return one formula as an inline picture."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "gradflow", "mathtext.fontset": "cm"}):
        math_to_image(f"${formula}$", buffer, format="svg", dpi=125)
    source = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(formula, quote=True)}" src="data:image/svg+xml;base64,{source}">'


def as_page() -> Figure:
    """Return the crib sheet as one page of A4: formulas left, words right."""
    with style("paper"):
        page = Figure(figsize=A4)
        page.set_layout_engine("none")
        page.text(0.07, 0.957, TITLE, fontsize=13, fontweight="bold")
        page.text(0.07, 0.944, _wrapped(SYMBOLS, 140), fontsize=7.2, va="top", color="0.25", linespacing=1.4)
        count = sum(len(part.rows) for part in PARTS) + 1.15 * len(PARTS)
        step, y = 0.845 / count, 0.888
        for part in PARTS:
            page.text(0.07, y, part.title, fontsize=9.5, fontweight="bold", va="center")
            y -= step
            for row in part.rows:
                page.text(0.08, y, f"${row.formula}$", fontsize=10.5, va="center")
                page.text(0.585, y, _wrapped(row.words, 46), fontsize=7.8, va="center", linespacing=1.2)
                y -= step
            y -= 0.15 * step
    return page


def _wrapped(text: str, width: int) -> str:
    from textwrap import fill

    return fill(text, width)
