"""Shuffle blocks: a length-prefixed JSON header, then raw columns, guarded by a crc32.

Layout: 4 bytes of header length, the header `{"n", "crc", "keys": column, "values": column}`,
payload.
A column is `{"kind", "bytes"}`: `lines` (texts joined by newlines), `sized` (int64 lengths in
characters, then the texts), `int64`, `json` (values as JSON, one a line), `constant`; `nulls` gives
the size of a mask before the texts of a key column that has records without a key. Must not know
files.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from itertools import accumulate
from typing import Any
from zlib import crc32

from minispark.compute.batch import Constant, Keyed, json_text
from minispark.errors import CorruptBlock

_HEAD = struct.Struct(">I")
HEADER_BYTES_MAX = 64 * 1024 * 1024

Keys = list[str] | list[str | None]
Column = list[Any] | Constant


def encode_block(keys: Keys, values: Column) -> bytes:
    """The block of aligned columns."""
    key_head, key_parts = _encode_texts(keys)
    value_head, value_parts = _encode_column(values)
    payload = b"".join((*key_parts, *value_parts))
    header = {"n": len(keys), "crc": crc32(payload), "keys": key_head, "values": value_head}
    head = json.dumps(header, separators=(",", ":")).encode()
    # the header guards the payload; its own crc comes first
    return b"".join((_HEAD.pack(len(head)), _HEAD.pack(crc32(head)), head, payload))


def decode_block(data: bytes) -> Keyed:
    """The records of a block. Raises CorruptBlock when a byte is missing or wrong."""
    view = memoryview(data)
    if len(view) < 2 * _HEAD.size:
        raise CorruptBlock(f"a shuffle block of {len(view)} bytes is cut off")
    (head_size,) = _HEAD.unpack_from(view, 0)
    (head_crc,) = _HEAD.unpack_from(view, _HEAD.size)
    start = 2 * _HEAD.size + head_size
    head = bytes(view[2 * _HEAD.size : start])
    if head_size > HEADER_BYTES_MAX or len(head) != head_size or crc32(head) != head_crc:
        raise CorruptBlock("a shuffle block's header is damaged")
    header: dict[str, Any] = json.loads(head)
    payload = view[start:]
    if crc32(payload) != header["crc"]:
        raise CorruptBlock("a shuffle block's checksum does not match its data")
    count, cut = header["n"], header["keys"]["bytes"]
    keys = _decode_column(header["keys"], payload[:cut], count)
    values = _decode_column(header["values"], payload[cut:], count)
    return Keyed(keys, values, is_json=header["values"]["kind"] in ("int64", "json"))


def _encode_column(column: Column) -> tuple[dict[str, Any], list[bytes]]:
    if isinstance(column, Constant):
        raw = column.value.encode()
        return {"kind": "constant", "bytes": len(raw)}, [raw]
    types = set(map(type, column))
    if types == {int}:
        try:
            numbers = array("q", column)
        except OverflowError:
            return _encode_json(column)
        return {"kind": "int64", "bytes": len(numbers) * 8}, [_little_endian(numbers)]
    if types <= {str}:
        return _encode_texts(column)
    return _encode_json(column)


def _encode_json(column: list[Any]) -> tuple[dict[str, Any], list[bytes]]:
    raw = "\n".join(map(json_text, column)).encode()
    return {"kind": "json", "bytes": len(raw)}, [raw]


def _encode_texts(texts: Keys) -> tuple[dict[str, Any], list[bytes]]:
    mask = b""
    try:
        joined = "\n".join(texts)  # type: ignore[arg-type]
    except TypeError:
        mask = bytes(text is None for text in texts)
        texts = ["" if text is None else text for text in texts]
        joined = "\n".join(texts)
    if texts and joined.count("\n") == len(texts) - 1:
        parts, kind = [mask, joined.encode()], "lines"
    else:
        lengths = array("q", [len(text) for text in texts])  # type: ignore[arg-type]
        raw = "".join(texts).encode()  # type: ignore[arg-type]
        parts, kind = [mask, _little_endian(lengths), raw], "sized"
    return {"kind": kind, "bytes": sum(map(len, parts)), "nulls": len(mask)}, parts


def _decode_column(head: dict[str, Any], data: memoryview, count: int) -> Any:
    match head["kind"]:
        case "constant":
            return Constant(str(data, "utf-8"))
        case "int64":
            return _numbers(data).tolist()
        case "json":
            return json.loads(f"[{str(data, 'utf-8').replace(chr(10), ',')}]")
        case "lines":
            mask, data = data[: head["nulls"]], data[head["nulls"] :]
            texts = str(data, "utf-8").split("\n")
        case "sized":
            mask, data = data[: head["nulls"]], data[head["nulls"] :]
            lengths = _numbers(data[: count * 8])
            text = str(data[count * 8 :], "utf-8")
            ends = list(accumulate(lengths))
            texts = [text[end - size : end] for size, end in zip(lengths, ends, strict=True)]
        case kind:
            raise CorruptBlock(f"a shuffle block has a column of unknown kind {kind!r}")
    if len(mask):
        return [None if is_null else t for is_null, t in zip(mask, texts, strict=True)]
    return texts


def _little_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = array("q", numbers)
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(data: memoryview) -> array[int]:
    numbers = array("q")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
