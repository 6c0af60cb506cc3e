"""Messages and JSON: dataclasses to bytes and back, checked field by field.

A converter is made once for each type (`object_code.py` compiles those of classes). An object of a
union carries `type`, its class's name in snake_case. Unknown fields are ignored, everything else
that is wrong is named.
Must not know what messages mean.
"""

from __future__ import annotations

import json
import re
import sys
import types
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from minispark.errors import ProtocolError
from minispark.transport import messages
from minispark.transport.object_code import (
    INT_BOUND,
    PLAIN,
    Convert,
    Mismatch,
    object_decoder,
    object_encoder,
    type_name,
)

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SHOWN_CHARS = 100
"""How much of a peer's text an error quotes."""


def encode(message: messages.Message) -> bytes:
    """The message as UTF-8 JSON. Half a surrogate pair, which is no text, becomes a `?`."""
    return _dumps(_encode_message(message)).encode("utf-8", "replace")


def decode(payload: bytes) -> messages.Message:
    """The message in `payload`. Raises ProtocolError that says what is wrong with it."""
    try:
        data = _parse(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a message is no JSON: {error}", "bad_json") from error
    try:
        message: messages.Message = _converted(_decode_message, data)
    except ProtocolError as error:
        if isinstance(data, dict) and _tag(data) not in _MESSAGE_TYPES:
            shown = str(data.get("type"))[:_SHOWN_CHARS]
            raise ProtocolError(f"unknown message type {shown!r}", "unknown_type") from error
        raise
    return message


def _parse(payload: bytes) -> Any:
    """JSON in UTF-8 whose strings are text. Raises ValueError, RecursionError."""
    text = str(payload, "utf-8")
    data = _loads(text)
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
    return _converted(_decoder(hint), data)


def _converted(convert: Convert, data: Any) -> Any:
    try:
        return convert(data)
    except Mismatch as error:
        raise ProtocolError(str(error), "bad_message") from error
    except RecursionError as error:
        raise ProtocolError("a message is nested too deeply", "bad_message") from error


_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_loads = json.JSONDecoder().decode

# --- encoding -----------------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


@cache
def _encoder(hint: Any) -> Convert:
    """The function that turns a value of type `hint` into JSON data."""
    if hint in PLAIN or hint in (Any, object):
        return _same
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union_encoder(args)
    if origin is tuple:
        items = [_encoder(arg) for arg in args if arg is not Ellipsis]
        if Ellipsis in args:
            item = items[0]
            return list if args[0] in PLAIN else (lambda value: [item(v) for v in value])
        return lambda value: [item(v) for item, v in zip(items, value, strict=True)]
    if origin is dict:
        item = _encoder(args[1])
        if item is _same:
            return _same
        return lambda value: {key: item(v) for key, v in value.items()}
    if issubclass(hint, Enum):
        return lambda value: value.value
    return object_encoder(hint, _hints(hint), _encoder, None)


def _union_encoder(args: tuple[Any, ...]) -> Convert:
    members = [arg for arg in args if arg is not types.NoneType]
    if len(members) == 1:
        inner = _encoder(members[0])
        return lambda value: None if value is None else inner(value)
    made: dict[type, Convert] = {}

    def encode_union(value: Any) -> Any:
        if value is None:
            return None
        cls = type(value)
        convert = made.get(cls)
        if convert is None:  # made when first needed: most processes send few kinds
            assert cls in members, f"{cls} is none of {members}"
            made[cls] = convert = object_encoder(cls, _hints(cls), _encoder, type_name(cls))
        return convert(value)

    return encode_union


# --- decoding -----------------------------------------------------------------------------


@cache
def _decoder(hint: Any) -> Convert:
    """The function that turns JSON data into a value of type `hint`, or raises Mismatch."""
    if hint in PLAIN:
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
    return object_decoder(hint, _hints(hint), _decoder)


def _plain_decoder(hint: type) -> Convert:
    if hint is int:
        return _decode_int
    allowed = PLAIN[hint]

    def decode_plain(data: Any) -> Any:
        if type(data) not in allowed:
            raise Mismatch(f"{type(data).__name__} stands where {hint.__name__} belongs")
        return data

    return decode_plain


def _decode_int(data: Any) -> Any:
    if type(data) is not int:
        raise Mismatch(f"{type(data).__name__} stands where int belongs")
    if not -INT_BOUND <= data < INT_BOUND:
        raise Mismatch("a whole number has at most 64 bits")
    return data


def _union_decoder(hint: Any, args: tuple[Any, ...]) -> Convert:
    members = [arg for arg in args if arg is not types.NoneType]
    has_none = len(members) < len(args)
    if len(members) == 1:
        inner = _decoder(members[0])
        return lambda data: None if data is None else inner(data)
    tags = _tags(hint)
    made: dict[str, Convert] = {}

    def decode_union(data: Any) -> Any:
        if data is None and has_none:
            return None
        tag = data.get("type") if data.__class__ is dict else None
        convert = made.get(tag) if tag.__class__ is str else None
        if convert is None:
            tag = _tag(data) if isinstance(data, dict) else ""
            if tag not in tags:
                raise Mismatch(f"an object whose type is one of {sorted(tags)} belongs here")
            made[tag] = convert = _decoder(tags[tag])
        return convert(data)

    return decode_union


def _tag(data: dict[str, Any]) -> str:
    """The object's type; whatever a peer put there that is no text becomes the empty one."""
    tag = data.get("type")
    return tag if isinstance(tag, str) else ""


@cache
def _tags(hint: Any) -> dict[str, type]:
    members = [arg for arg in get_args(hint) if arg is not types.NoneType]
    return {type_name(member): member for member in members}


def _tuple_decoder(args: tuple[Any, ...]) -> Convert:
    items = [_decoder(arg) for arg in args if arg is not Ellipsis]

    def decode_tuple(data: Any) -> Any:
        if not isinstance(data, list):
            raise Mismatch(f"{type(data).__name__} stands where a list belongs")
        if Ellipsis in args:
            item = items[0]
            return tuple([item(v) for v in data])
        if len(data) != len(items):
            raise Mismatch(f"a list of {len(items)} belongs here, not one of {len(data)}")
        return tuple([item(v) for item, v in zip(items, data, strict=True)])

    return decode_tuple


def _dict_decoder(value_hint: Any) -> Convert:
    item = _decoder(value_hint)

    def decode_dict(data: Any) -> Any:
        if not isinstance(data, dict):
            raise Mismatch(f"{type(data).__name__} stands where an object belongs")
        return {key: item(value) for key, value in data.items()}

    def decode_plain_dict(data: Any) -> Any:
        if not isinstance(data, dict):
            raise Mismatch(f"{type(data).__name__} stands where an object belongs")
        for value in data.values():
            item(value)
        return data  # it was parsed for this message

    return decode_plain_dict if value_hint in PLAIN else decode_dict


def _enum_decoder(hint: type[Enum]) -> Convert:
    members = {member.value: member for member in hint}

    def decode_enum(data: Any) -> Any:
        if not isinstance(data, str) or data not in members:
            raise Mismatch(f"{str(data)[:_SHOWN_CHARS]!r} is none of {sorted(members)}")
        return members[data]

    return decode_enum


def _hints(cls: type) -> dict[str, Any]:
    if not is_dataclass(cls):
        raise TypeError(f"{cls!r} is no dataclass")
    return get_type_hints(cls, vars(sys.modules[cls.__module__]))


# the types of messages are looked up once: to hash a union of so many takes longer than a message
_encode_message = _encoder(messages.Message)
_decode_message = _decoder(messages.Message)
_MESSAGE_TYPES = _tags(messages.Message)
