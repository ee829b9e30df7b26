"""Frozen dataclasses <-> plain dictionaries <-> ``--set a.b=value``; an unknown key names its nearest."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import yaml

from redraft.core.errors import UsageError, unknown

T = TypeVar("T")
KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
NAMED = 12  # settings at most that an error names


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as nested plain values, ready for YAML or JSON."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def from_dict(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build ``cls`` from plain values; unknown keys and wrong kinds are UsageErrors that name the place."""
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown("setting", where + str(key), (where + k for k in known))
    made = {k: _convert(hints[k], v, where + k) for k, v in values.items()}
    try:
        return cls(**made)
    except TypeError as missing:
        raise UsageError(f"Settings {where or cls.__name__} are incomplete: {missing}.") from None


def override(config: T, assignments: Iterable[str], where: str = "") -> T:
    """Apply ``dotted.key=value`` lines (values read as YAML) to a frozen dataclass.

    ``where`` is the prefix that the user typed before the keys, for the error texts.
    """
    values = to_dict(config)
    for line in assignments:
        key, equals, text = line.partition("=")
        if not equals or not key.strip():
            raise _no_assignment(where + line)
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError(f"--set {where}{key}: {text!r} is not a value that YAML can read.") from None
        _put(values, key.strip(), value, config, where)
    return from_dict(type(config), values, where)


def _put(values: dict[str, Any], key: str, value: Any, config: Any, where: str) -> None:
    *path, last = key.split(".")
    here, of = values, config
    for part in path:
        if not isinstance(here.get(part), dict):
            raise unknown("setting", where + key, _near(where + key, _keys(config, where)))
        here, of = here[part], of[part] if isinstance(of, dict) else getattr(of, part)
    # named values may be given new names, unless one is a known name with a slip of the finger
    new = isinstance(of, dict) and not difflib.get_close_matches(last, here, cutoff=0.7)
    if last not in here and not new:
        raise unknown("setting", where + key, _near(where + key, _keys(config, where)))
    here[last] = value


def _no_assignment(line: str) -> UsageError:
    return UsageError(f"--set takes key=value, for example train.batch=16, not {line!r}.")


def _near(key: str, known: list[str]) -> list[str]:
    """The known settings that are most like the key, so many as a sentence can hold."""
    return difflib.get_close_matches(key, known, n=NAMED, cutoff=0.0)


def _keys(config: Any, where: str = "") -> list[str]:
    names = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            names += _keys(value, f"{where}{field.name}.")
        elif isinstance(value, dict):
            names += [f"{where}{field.name}.{k}" for k in value]
        else:
            names.append(where + field.name)
    return names


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in args:
            raise unknown(f"choice for {where}:", str(value), map(str, args))
        return value
    if dataclasses.is_dataclass(hint):
        if dataclasses.is_dataclass(value):
            return value
        if not isinstance(value, Mapping):
            raise UsageError(f"Setting {where} holds further settings, not {value!r}.")
        return from_dict(typing.cast(type, hint), value, where + ".")
    if origin is tuple:
        many = isinstance(value, (list, tuple)) and args[-1] is Ellipsis
        item = [args[0]] * len(value) if many else args
        if not isinstance(value, (list, tuple)) or len(value) != len(item):
            count = "several" if args[-1] is Ellipsis else len(args)
            raise UsageError(f"Setting {where} takes {count} values, as in [a, b], not {value!r}.")
        return tuple(_convert(h, v, where) for h, v in zip(item, value, strict=True))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UsageError(f"Setting {where} takes named values, as in {{name: value}}, not {value!r}.")
        return {k: _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):  # YAML reads 1e-3 as text
            value = float(value)
    if hint is int and isinstance(value, (float, str)):
        try:
            if float(value).is_integer():
                return int(float(value))
        except ValueError:
            pass
    if isinstance(hint, type) and (
        not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)
    ):
        raise UsageError(f"Setting {where} takes {KINDS.get(hint, hint.__name__)}, not {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):  # NaN passes every comparison
        raise UsageError(f"Setting {where} takes a finite number, not {value!r}.")
    return value
