"""Messages and JSON: dataclasses to bytes and back, checked field by field.

A converter is compiled once for each class from its type hints. An object of a union carries
`type`,
its class's name in snake_case. Unknown fields are ignored, everything else that is wrong is named.
Must not know what messages mean.
"""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from minispark.errors import ProtocolError
from minispark.transport import messages

Convert = Callable[[Any], Any]
T = TypeVar("T")

_PLAIN: dict[type, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
}


_INT_BOUND = 2**63
"""Whole numbers on the wire fit into 64 bits, as they do in the database."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SHOWN_CHARS = 100
"""How much of a peer's text an error quotes."""


class _Mismatch(Exception):
    """A value that is not what its type says."""


def type_name(cls: type) -> str:
    """`FetchFailed` -> `fetch_failed`: the `type` of its messages."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


def encode(message: messages.Message) -> bytes:
    """The message as UTF-8 JSON. Half a surrogate pair, which is no text, becomes a `?`."""
    return _dumps(to_json(message, messages.Message)).encode("utf-8", "replace")


def decode(payload: bytes) -> messages.Message:
    """The message in `payload`. Raises ProtocolError that says what is wrong with it."""
    try:
        data = _parse(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a message is no JSON: {error}", "bad_json") from error
    if isinstance(data, dict) and _tag(data) not in _tags(messages.Message):
        shown = str(data.get("type"))[:_SHOWN_CHARS]
        raise ProtocolError(f"unknown message type {shown!r}", "unknown_type")
    message: messages.Message = from_json(messages.Message, data)
    return message


def _parse(payload: bytes) -> Any:
    """JSON in UTF-8 whose strings are text. Raises ValueError, RecursionError."""
    text = str(payload, "utf-8")
    data = json.loads(text)
    # Valid UTF-8 holds no surrogates, but an escape makes one. Most messages have no backslash.
    if "\\" in text and _SURROGATE.search(text) is not None:
        _dumps(data).encode()
    return data


def to_json(value: Any, hint: Any = None) -> Any:
    """`value` as plain JSON data; `hint` is its declared type (default: its class)."""
    chosen: Any = type(value) if hint is None else hint
    return _encoder(chosen)(value)


def from_json(hint: Any, data: Any) -> Any:
    """The value of type `hint` that `to_json` made. Raises ProtocolError (`bad_message`)."""
    try:
        return _decoder(hint)(data)
    except _Mismatch as error:
        raise ProtocolError(str(error), "bad_message") from error
    except RecursionError as error:
        raise ProtocolError("a message is nested too deeply", "bad_message") from error


_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

# --- encoding -----------------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


@cache
def _encoder(hint: Any) -> Convert:
    """The function that turns a value of type `hint` into JSON data."""
    if hint in _PLAIN or hint in (Any, object):
        return _same
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union_encoder(args)
    if origin is tuple:
        items = [_lazy(_encoder, arg) for arg in args if arg is not Ellipsis]
        if Ellipsis in args:
            item = items[0]
            return (
                (lambda value: list(value))
                if args[0] in _PLAIN
                else (lambda value: [item(v) for v in value])
            )
        return lambda value: [item(v) for item, v in zip(items, value, strict=True)]
    if origin is dict:
        item = _lazy(_encoder, args[1])
        return lambda value: {key: item(v) for key, v in value.items()}
    if issubclass(hint, Enum):
        return lambda value: value.value
    return _object_encoder(hint)


def _union_encoder(args: tuple[Any, ...]) -> Convert:
    members = [arg for arg in args if arg is not types.NoneType]
    if len(members) == 1:
        inner = _lazy(_encoder, members[0])
        return lambda value: None if value is None else inner(value)
    tagged = {member: (type_name(member), _lazy(_encoder, member)) for member in members}

    def encode_union(value: Any) -> Any:
        if value is None:
            return None
        tag, inner = tagged[type(value)]
        return {"type": tag, **inner(value)}

    return encode_union


def _object_encoder(cls: type) -> Convert:
    hints = _hints(cls)
    plain = [f.name for f in fields(cls) if hints[f.name] in _PLAIN]
    other = [
        (f.name, _lazy(_encoder, hints[f.name])) for f in fields(cls) if hints[f.name] not in _PLAIN
    ]

    def encode_object(value: Any) -> dict[str, Any]:
        data = {name: getattr(value, name) for name in plain}
        for name, convert in other:
            data[name] = convert(getattr(value, name))
        return data

    return encode_object


# --- decoding -----------------------------------------------------------------------------


@cache
def _decoder(hint: Any) -> Convert:
    """The function that turns JSON data into a value of type `hint`, or raises _Mismatch."""
    if hint in _PLAIN:
        return _plain_decoder(hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union_decoder(hint, args)
    if origin is tuple:
        return _tuple_decoder(args)
    if origin is dict:
        return _dict_decoder(args[1])
    if issubclass(hint, Enum):
        return _enum_decoder(hint)
    return _object_decoder(hint)


def _plain_decoder(hint: type) -> Convert:
    if hint is int:
        return _decode_int
    allowed = _PLAIN[hint]

    def decode_plain(data: Any) -> Any:
        if type(data) not in allowed:
            raise _Mismatch(f"{type(data).__name__} stands where {hint.__name__} belongs")
        return data

    return decode_plain


def _decode_int(data: Any) -> Any:
    if type(data) is not int:
        raise _Mismatch(f"{type(data).__name__} stands where int belongs")
    if not -_INT_BOUND <= data < _INT_BOUND:
        raise _Mismatch("a whole number has at most 64 bits")
    return data


def _union_decoder(hint: Any, args: tuple[Any, ...]) -> Convert:
    members = [arg for arg in args if arg is not types.NoneType]
    has_none = len(members) < len(args)
    if len(members) == 1:
        inner = _lazy(_decoder, members[0])
        return lambda data: None if data is None else inner(data)
    tags = _tags(hint)

    def decode_union(data: Any) -> Any:
        if data is None and has_none:
            return None
        if not isinstance(data, dict) or _tag(data) not in tags:
            raise _Mismatch(f"an object whose type is one of {sorted(tags)} belongs here")
        return tags[data["type"]](data)

    return decode_union


def _tag(data: dict[str, Any]) -> str:
    """The object's type; whatever a peer put there that is no text becomes the empty one."""
    tag = data.get("type")
    return tag if isinstance(tag, str) else ""


@cache
def _tags(hint: Any) -> dict[Any, Convert]:
    members = [arg for arg in get_args(hint) if arg is not types.NoneType]
    return {type_name(member): _lazy(_decoder, member) for member in members}


def _tuple_decoder(args: tuple[Any, ...]) -> Convert:
    items = [_lazy(_decoder, arg) for arg in args if arg is not Ellipsis]

    def decode_tuple(data: Any) -> Any:
        if not isinstance(data, list):
            raise _Mismatch(f"{type(data).__name__} stands where a list belongs")
        if Ellipsis in args:
            item = items[0]
            return tuple([item(v) for v in data])
        if len(data) != len(items):
            raise _Mismatch(f"a list of {len(items)} belongs here, not one of {len(data)}")
        return tuple([item(v) for item, v in zip(items, data, strict=True)])

    return decode_tuple


def _dict_decoder(value_hint: Any) -> Convert:
    item = _lazy(_decoder, value_hint)

    def decode_dict(data: Any) -> Any:
        if not isinstance(data, dict):
            raise _Mismatch(f"{type(data).__name__} stands where an object belongs")
        return {key: item(value) for key, value in data.items()}

    return decode_dict


def _enum_decoder(hint: type[Enum]) -> Convert:
    members = {member.value: member for member in hint}

    def decode_enum(data: Any) -> Any:
        if not isinstance(data, str) or data not in members:
            raise _Mismatch(f"{str(data)[:_SHOWN_CHARS]!r} is none of {sorted(members)}")
        return members[data]

    return decode_enum


def _object_decoder(cls: type) -> Convert:
    hints = _hints(cls)
    plan: list[tuple[str, Convert, bool]] = []
    for f in fields(cls):
        is_required = f.default is MISSING and f.default_factory is MISSING
        plan.append((f.name, _lazy(_decoder, hints[f.name]), is_required))

    def decode_object(data: Any) -> Any:
        if not isinstance(data, dict):
            raise _Mismatch(f"{type(data).__name__} stands where a {type_name(cls)} belongs")
        values = {}
        for name, convert, is_required in plan:
            if name in data:
                try:
                    values[name] = convert(data[name])
                except _Mismatch as error:
                    raise _Mismatch(f"{type_name(cls)}.{name}: {error}") from None
            elif is_required:
                raise _Mismatch(f"{type_name(cls)} lacks {name}")
        return cls(**values)

    return decode_object


def _hints(cls: type) -> dict[str, Any]:
    if not is_dataclass(cls):
        raise TypeError(f"{cls!r} is no dataclass")
    return get_type_hints(cls, vars(sys.modules[cls.__module__]))


def _lazy(make: Callable[[Any], Convert], hint: Any) -> Convert:
    """The converter of `hint`; of a dataclass only when first used, because they may be
    recursive.
    """
    if not is_dataclass(hint) and not get_args(hint):
        return make(hint)
    found: list[Convert] = []

    def convert(value: Any) -> Any:
        if not found:
            found.append(make(hint))
        return found[0](value)

    return convert
