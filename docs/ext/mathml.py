"""Formulas as MathML, which browsers draw themselves: pages need no script and no network for them."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

NAMED = re.compile(r"\\mathrm\{([A-Za-z]+)\}")
WORD = re.compile(r"<m[io]>([A-Za-z]{2,})</m[io]>|<mo>([A-Za-z])</mo>")
BAR = re.compile(r'<mo(?: stretchy="false")?>(&#x02016;|&#x0007C;)</mo>')
SPACE = '<mspace width="0.167em" />'


def mathml(latex: str, display: str) -> str:
    """Return LaTeX as one `math` element.

    >>> print(mathml("x^2", "inline"))
    <math ... display="inline"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>
    """
    known = NAMED.sub(r"\\operatorname{\1}", latex).replace("{aligned}", "{split}")
    drawn = convert(known, display=display)
    # the bars of a norm are no operators: not to be stretched over all that follows, nor spaced
    drawn = BAR.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', drawn)
    return WORD.sub(_upright, drawn)


def _upright(match: re.Match[str]) -> str:
    """Return a word as an upright name, a thin space before what it applies to."""
    name = f'<mi mathvariant="normal">{match[1] or match[2]}</mi>'
    brackets = match.string.startswith('<mo stretchy="false">&#x00028;', match.end())
    # as one element: it may be what an index hangs on
    return name if brackets else f"<mrow>{name}{SPACE}</mrow>"


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
