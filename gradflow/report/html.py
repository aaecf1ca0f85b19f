"""Text as HTML: everything that is not markup already is escaped, so that no file can write into a page."""

from collections.abc import Sequence
from html import escape


class Markup(str):
    """Text that is HTML already, made here or escaped."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Return text as HTML; markup as it is.

    >>> escaped("<b>"), escaped(Markup("<b>"))
    ('&lt;b&gt;', '<b>')
    """
    return text if isinstance(text, Markup) else Markup(escape(text, quote=True))


def tag(name: str, content: str = "", **attributes: str) -> Markup:
    """Return an element; `cls` is the attribute class, `for_` is for, and _ stands for - in names.

    >>> tag("p", "1 < 2", cls="note", aria_label="a")
    '<p class="note" aria-label="a">1 &lt; 2</p>'
    """
    names = {key: "class" if key == "cls" else key.strip("_").replace("_", "-") for key in attributes}
    told = "".join(f' {names[key]}="{escaped(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{told}>{escaped(content)}</{name}>")


def joined(parts: Sequence[str]) -> Markup:
    """Return parts one after another."""
    return Markup("\n".join(map(escaped, parts)))


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False
) -> Markup:
    """Return a table that scrolls by itself where it is wider than the page; numbers to the right.

    >>> table("Rates", ["layer", "rate"], [["0", "-0.5"]]).count("<td")
    1
    """
    head = tag("tr", joined([tag("th", name, scope="col") for name in heads]))
    body = [
        tag("tr", joined([tag("th", row[0], scope="row"), *(tag("td", text) for text in row[1:])]))
        for row in rows
    ]
    inner = joined([tag("caption", caption), tag("thead", head), tag("tbody", joined(body))])
    made = tag("table", inner, cls="words" if words else "numbers")
    return tag("div", made, cls="scroll", tabindex="0", role="region", aria_label=caption)
