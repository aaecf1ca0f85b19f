"""Neurons, recurrences, surrogates and norms as words or tables of a configuration, and back.

A table is `{kind = "plif", decay = 0.9}`: the word, and the fields of the object it stands for. A word alone
is the table with all defaults; recurrences have the words of the command line (`skip:16`, `asrc:51`).
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from enum import Enum
from typing import Any, TypeAlias

from gradflow.baselines import GRU, LSTM, Cell, SnnTorch, SpikingJelly, TanhRNN
from gradflow.baselines.peers import PeerCell
from gradflow.neurons import GLIF, LIF, PLIF
from gradflow.norms import BatchNorm, LayerNorm
from gradflow.recurrence import AdaptiveSkip, NoRecurrence, Skip, Vanilla, parse_recurrence
from gradflow.surrogate import ArcTangent, Exponential, MultiGaussian, Rectangle, Sigmoid, Triangle

Table: TypeAlias = dict[str, Any]
PerLayer: TypeAlias = Table | tuple[Table, ...]


@dataclass(frozen=True)
class Family:
    """Things of one sort that a configuration can name.

    Attributes:
        name: of the sort, in error messages.
        kinds: the classes by their word.
        default: the word of a table that gives none; "" where it must.
    """

    name: str
    kinds: Mapping[str, type]
    default: str = ""

    def word(self, thing: Any) -> str:
        """Return the word of an object's class."""
        return next(word for word, kind in self.kinds.items() if type(thing) is kind)


SURROGATES = Family(
    "surrogate",
    {
        "triangle": Triangle,
        "rectangle": Rectangle,
        "exponential": Exponential,
        "sigmoid": Sigmoid,
        "arctangent": ArcTangent,
        "multi-gaussian": MultiGaussian,
    },
    "triangle",
)
NEURONS = Family("neuron", {"lif": LIF, "plif": PLIF, "glif": GLIF}, "lif")
RECURRENCES = Family(
    "recurrence", {"none": NoRecurrence, "vanilla": Vanilla, "skip": Skip, "asrc": AdaptiveSkip}
)
CELLS: Mapping[str, type[Cell]] = {kind.word: kind for kind in (TanhRNN, GRU, LSTM, SnnTorch, SpikingJelly)}
"""Baselines by their word."""
NORMS = Family("norm", {"layer": LayerNorm, "batch": BatchNorm})


def nearest(word: str, known: list[str]) -> str:
    """Return the known word that `word` resembles most, or all of them where none is like it.

    >>> nearest("decy", ["decay", "threshold"])
    'the nearest is decay'
    """
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"the nearest is {close[0]}" if close else f"expected one of {', '.join(known)}"


def from_table(family: Family, given: Any) -> Any:
    """Return the object that a word or a table stands for.

    Raises ValueError for a word or a field that does not exist, naming the nearest, or a value that the class
    refuses.

    >>> from_table(RECURRENCES, {"kind": "asrc", "max_span": 5, "temperature_decay": 0.9}).label
    'asrc:5'
    """
    if family is RECURRENCES and isinstance(given, str):
        return parse_recurrence(given)
    table = {"kind": given} if isinstance(given, str) else given
    if not isinstance(table, Mapping):
        raise ValueError(f"got {given!r}, expected a word or a table, as {example(family)}")
    values = dict(table)
    word = values.pop("kind", family.default)
    if family is RECURRENCES and ":" in str(word):
        # the command line's word with something laid over it: {kind = "asrc:51", temperature_decay = 0.9}
        values = {**to_table(family, parse_recurrence(word)), **values}
        word = values.pop("kind")
    if word not in family.kinds:
        raise ValueError(f"{family.name} {word!r} is not known; {nearest(str(word), list(family.kinds))}")
    return _build(family.kinds[word], word, values)


def _build(kind: type, word: str, values: Table) -> Any:
    """Make the object, its surrogate first; refuse what its dataclass would take without a word."""
    known = {field.name: field for field in fields(kind)}
    for name in values.keys() - known.keys():
        choice = nearest(name, list(known)) if known else "it has no settings"
        raise ValueError(f"{word} has no {name!r}; {choice}")
    missing = [name for name, field in known.items() if _needed(field) and name not in values]
    if missing:
        raise ValueError(
            f'{word} needs {" and ".join(missing)}, as in {{kind = "{word}", {missing[0]} = 16}}'
        )
    return kind(**{name: _value(word, known[name], value) for name, value in values.items()})


def _needed(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(word: str, field: Field[Any], value: Any) -> Any:
    """Return a field's value as its dataclass wants it."""
    if field.name == "surrogate":
        return from_table(SURROGATES, value)
    if isinstance(field.default, bool) and not isinstance(value, bool):
        raise ValueError(f"{word}: {field.name} is {value!r}, expected true or false")
    if not isinstance(field.default, Enum):
        return value
    words = [member.value for member in type(field.default)]
    if value not in words:
        raise ValueError(f"{word}: {field.name} is {value!r}, expected {' or '.join(words)}")
    return type(field.default)(value)


def to_table(family: Family, thing: Any) -> Table:
    """Return the table of an object: its word and all fields that are not None.

    >>> to_table(NEURONS, LIF(decay=0.9))["decay"]
    0.9
    """
    table: Table = {"kind": family.word(thing)}
    for field in fields(thing):
        value = getattr(thing, field.name)
        if field.name == "surrogate":
            table["surrogate"] = to_table(SURROGATES, value)
        elif value is not None:
            table[field.name] = value.value if isinstance(value, Enum) else value
    return table


def whole_table(family: Family, given: Any) -> PerLayer:
    """Return the table with every default written out, or a tuple with one for each layer.

    Raises ValueError as `from_table` does.
    """
    if isinstance(given, list | tuple):
        return tuple(to_table(family, from_table(family, entry)) for entry in given)
    return to_table(family, from_table(family, given))


def objects_of(family: Family, given: PerLayer) -> Any:
    """Return the object of a table, or a tuple of those of several."""
    if isinstance(given, tuple):
        return tuple(from_table(family, entry) for entry in given)
    return from_table(family, given)


def cell_of(model: str, recurrence: PerLayer, neuron: PerLayer, norm: Table | None) -> Cell | None:
    """Return the cell of a baseline, None for snn.

    Raises ValueError where recurrence, neuron or norm is one that the baseline cannot have.

    >>> vanilla, lif = whole_table(RECURRENCES, "vanilla"), whole_table(NEURONS, "lif")
    >>> cell_of("lstm", vanilla, lif, None)
    LSTM(forget_bias=1.0)
    """
    if model not in CELLS:
        return None
    kind = CELLS[model]
    recurrences = recurrence if isinstance(recurrence, tuple) else (recurrence,)
    other = next((table for table in recurrences if table["kind"] != "vanilla"), None)
    if other is not None:
        raise ValueError(
            f"recurrence is {from_table(RECURRENCES, other)}, but {model} has its own, from one step to the "
            "next; leave it out, or set it to vanilla"
        )
    if norm is not None:
        raise ValueError(f"norm is {norm['kind']}, but {model} has none; leave it out, or set it to none")
    if issubclass(kind, PeerCell):
        if isinstance(neuron, tuple):
            raise ValueError(f"neuron is one for each layer, but {model} has the same in all; give one")
        return kind(from_table(NEURONS, neuron))
    if neuron != whole_table(NEURONS, "lif"):
        raise ValueError(f"neuron is chosen, but {model} does not spike; leave it out")
    return kind()


def example(family: Family) -> str:
    """Return a word and a table of this family, for an error message.

    >>> example(NORMS)
    '"layer" or {kind = "layer", …}'
    """
    word = next(iter(family.kinds))
    return f'"{word}" or {{kind = "{word}", …}}'
