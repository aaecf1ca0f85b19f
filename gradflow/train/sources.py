"""Where a configuration comes from: TOML files, tables and settings `part.key=value`, merged in order.

What is wrong is said in one line: the key, what came, what was expected, the nearest key that exists.
"""

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from gradflow.train.config import TrainConfig
from gradflow.train.kinds import Table

CONFIG_NAME = "config.toml"


def resolve(*tables: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration of tables merged in order: what a later one says, goes.

    Raises ValueError naming every key that is unknown, with the nearest that exists, or has a wrong value.

    >>> resolve({"optimiser": {"lr": 0.003}}, {"training": {"epochs": 2}}).optimiser.lr
    0.003
    """
    merged: Table = {}
    for table in tables:
        merged = merge(merged, table)
    try:
        return TrainConfig.model_validate(merged)
    except ValidationError as error:
        lines = [_explain(part) for part in error.errors()]
        raise ValueError("; ".join(dict.fromkeys(lines))) from None


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """Return `below` with the keys of `above` put in; tables are merged, all else replaced.

    A table laid over a word keeps the word as its `kind`.

    >>> merge({"neuron": "plif", "batch": 2}, {"neuron": {"decay": 0.9}})
    {'neuron': {'kind': 'plif', 'decay': 0.9}, 'batch': 2}
    """
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, str) and isinstance(value, Mapping):
            under = {"kind": under}
        # the fields of one kind do not go with another
        together = isinstance(under, Mapping) and isinstance(value, Mapping) and _same_kind(under, value)
        merged[key] = merge(cast(Table, under), value) if together else value
    return merged


def _same_kind(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return "kind" not in above or above["kind"] == below.get("kind")


def read_toml(path: str | PathLike[str]) -> Table:
    """Return the tables of a TOML file.

    Raises FileNotFoundError, or ValueError with the place in the file where it is not TOML.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file; a run keeps its own as {CONFIG_NAME}")
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: not a TOML file ({error})") from None


def write_toml(config: TrainConfig) -> str:
    """Return the whole configuration as TOML, from which `resolve` makes the same again."""
    import tomli_w

    return tomli_w.dumps(config.as_tables())


def parse_settings(settings: Sequence[str]) -> Table:
    """Return the tables that settings such as `optimiser.lr=3e-3` stand for.

    The value is read as TOML; what is not TOML is a word: `network.recurrence=skip:16`. `none` takes an
    optional value away: `optimiser.clip=none`.

    Raises ValueError for a setting without `=`, or a key without its part.

    >>> parse_settings(["optimiser.lr=3e-3", "network.hidden=[8, 8]", "network.recurrence=skip:4"])
    {'optimiser': {'lr': 0.003}, 'network': {'hidden': [8, 8], 'recurrence': 'skip:4'}}
    """
    found: Table = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ValueError(f"{setting!r}: expected part.key=value, as in optimiser.lr=0.003")
        if len(parts) == 1:
            raise ValueError(f"{key.strip()}: expected part.key=value; {nearest_key(key.strip())}")
        value: Any = _value(text.strip(), ".".join(parts))
        for part in reversed(parts):
            value = {part: value}
        found = merge(found, value)
    return found


def _value(text: str, key: str) -> Any:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return None if value == "none" and key != "network.recurrence" else value


def known_keys(model: type[BaseModel] = TrainConfig, prefix: str = "") -> list[str]:
    """Return every key of the configuration, as `part.key`.

    >>> "optimiser.lr" in known_keys()
    True
    """
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        inner = isinstance(kind, type) and issubclass(kind, BaseModel)
        keys += known_keys(kind, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]  # type: ignore[arg-type]
    return keys


def nearest_key(key: str) -> str:
    """Return which key comes nearest to one that does not exist: by its last word, then as a whole.

    >>> nearest_key("optimizer.lr"), nearest_key("batch")
    ('the nearest is optimiser.lr', 'the nearest is training.batch')
    """
    keys = known_keys()
    last = key.rpartition(".")[2]
    names = {known.rpartition(".")[2]: known for known in reversed(keys)}
    same = [known for known in keys if known.rpartition(".")[2] == last]
    by_name = [names[name] for name in get_close_matches(last, list(names), n=3, cutoff=0.6)]
    by_whole = get_close_matches(key, keys, n=1, cutoff=0.6)
    close = get_close_matches(key, same, n=1, cutoff=0.0) or (by_whole if "." in key else []) or by_name
    close = close or by_whole
    if close:
        return f"the nearest is {close[0]}"
    return f"the parts are {', '.join(TrainConfig.model_fields)}"


def _explain(error: Any) -> str:
    """Return one of pydantic's errors in our words."""
    place = [str(part) for part in error["loc"]]
    if place[:2] == ["task", "options"] and len(place) > 2:
        # pydantic has an error for each type an option may have
        return f"{'.'.join(place[:3])}: got {error['input']!r}, expected a number, a word, true or false"
    key = ".".join(place)
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; {nearest_key(key)}"
    reason = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {reason}"
    return f"{key}: got {error['input']!r}; {reason[:1].lower()}{reason[1:]}"
