"""Formulas as MathML, which browsers draw themselves: pages need no script and no network for them."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

SPELT = {"{aligned}": "{split}", r"\operatorname{": r"\mathrm{"}
"""What the converter does not know, in words that it does."""


def mathml(latex: str, display: str) -> str:
    """Return LaTeX as one `math` element.

    >>> print(mathml("x^2", "inline"))
    <math ... display="inline"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>
    """
    for written, known in SPELT.items():
        latex = latex.replace(written, known)
    return convert(latex, display=display)


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    # it can be scrolled by the keyboard where it is wider than the page
    self.body.append('<div class="formula" tabindex="0" role="group" aria-label="formula">')
    if node.get("number"):
        self.body.append(f'<span class="formula-number">({node["number"]})</span>')
    self.body.append(mathml(node.astext(), "block") + "</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the renderer under the name `mathml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
