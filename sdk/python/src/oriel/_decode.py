"""JSON of responses as the classes of `models`. Fields that are not known are ignored, as servers may add some."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from . import models
from .errors import UnexpectedResponse
from .models import Unknown

T = TypeVar("T")
_NOTHING = type(None)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")
# Fields that say which of several kinds a thing is.
_TAGS = ("type", "kind")


class _Field(NamedTuple):
    name: str
    wire: str
    kind: Any
    required: bool


def decode(kind: type[T], value: Any, where: str = "the response") -> T:
    """`value`, which is what a JSON parser gives, as a `kind` of `models`."""
    return cast("T", _decode(kind, value, where))


def decode_event(data: Any) -> models.Event:
    """`data` of a server-sent event."""
    return cast("models.Event", _decode(_event_types(), data, "the event"))


@cache
def _event_types() -> Any:
    hints = get_type_hints(_Event, dict(vars(models), models=models))
    return hints["event"]


class _Event:
    event: models.Event


@cache
def _fields(kind: Any) -> list[_Field]:
    hints = get_type_hints(kind)
    required = [one.default is one.default_factory for one in fields(kind)]  # both are MISSING
    return [
        _Field(one.name, one.metadata.get("wire", one.name), hints[one.name], must)
        for one, must in zip(fields(kind), required)
    ]


def _decode(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _object(kind, value, where)
    origin = get_origin(kind)
    if origin is Union:
        return _union(get_args(kind), value, where)
    if origin is list:
        item = get_args(kind)[0]
        return [_decode(item, one, where) for one in _expect(list, value, where)]
    if origin is tuple:
        return tuple(_decode(item, one, where) for item, one in zip(get_args(kind), _expect(list, value, where)))
    if kind is datetime:
        return _time(_expect(str, value, where), where)
    if kind is float and isinstance(value, int):
        return float(value)
    if kind in (str, int, float, bool):
        return _expect(kind, value, where)
    # Names of states and the like may become more; TypedDicts are what JSON gives.
    return value


def _object(kind: Any, value: Any, where: str) -> Any:
    given = _expect(dict, value, where)
    values = {}
    for name, wire, of, required in _fields(kind):
        if wire in given:
            if given[wire] is not None or required:
                values[name] = _decode(of, given[wire], f"{where}.{wire}")
        elif required:
            raise UnexpectedResponse(f"{where} has no {wire}")
    return kind(**values)


def _union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and _NOTHING in kinds:
        return None
    if isinstance(value, dict):
        kinds = tuple(kind for kind in kinds if kind is not _NOTHING)
        if len(kinds) > 1 and Unknown in kinds:
            return _tagged(kinds, value, where)
        return _decode(kinds[0], value, where) if len(kinds) == 1 else value
    others = [kind for kind in kinds if kind is not _NOTHING]
    return _decode(others[0], value, where) if len(others) == 1 else value


def _tagged(kinds: tuple[Any, ...], value: dict[str, Any], where: str) -> Any:
    for kind in kinds:
        if kind is Unknown:
            continue
        for name, wire, of, _ in _fields(kind):
            if name in _TAGS and get_origin(of) is Literal and value.get(wire) in get_args(of):
                return _object(kind, value, where)
    tag = next((value[tag] for tag in _TAGS if tag in value), "")
    return Unknown(type=str(tag), data=value)


def _expect(kind: Any, value: Any, where: str) -> Any:
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise UnexpectedResponse(f"{where} is not of the type {kind.__name__}")


def _time(text: str, where: str) -> datetime:
    # `fromisoformat` takes neither Z nor nanoseconds before Python 3.11.
    match = _TIME.fullmatch(text)
    if match is None:
        raise UnexpectedResponse(f"{where} is no time")
    fraction = (match[2] or "")[:6].ljust(6, "0")
    zone = "+00:00" if match[3] == "Z" else match[3]
    return datetime.fromisoformat(f"{match[1]}.{fraction}{zone}")
