"""Shuffle blocks: a length-prefixed JSON header, then raw columns, guarded by a crc32.

Layout: 4 bytes of header length, 4 of its crc32, the header `{"n", "crc", "keys": column, "values":
column}`, payload. Several may stand back to back.
A column is `{"kind", "bytes"}`: `lines` (texts joined by newlines), `sized` (int64 lengths in
characters, then the texts), `int64` (numbers, or with `is_text` their texts), `json` (values as
JSON, one a line), `constant`, `chunk` (lines of input as they are); `nulls` gives the size of a
mask before the texts of a key column that has records without a key; where none has one, its kind
is `none`. Must not know files.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate, compress
from typing import Any, TypeAlias, assert_never
from zlib import crc32

from minispark.compute.batch import (
    Batch,
    Constant,
    Integers,
    Keyed,
    TextChunk,
    Values,
    json_text,
)
from minispark.compute.partition import crc32_partitions, encoded_keys
from minispark.errors import CorruptBlock

_HEAD = struct.Struct(">II")
HEADER_BYTES_MAX = 64 * 1024 * 1024
SELECTIONS_MAX = 4
"""Up to so many partitions it is cheaper to select from all records for each than to sort them."""

Keys = list[str] | list[str | None]
Column = list[Any] | Constant
Encoded: TypeAlias = tuple[dict[str, Any], list[bytes]]
"""A column's head and the parts of its payload."""
_NO_KEYS: Encoded = ({"kind": "none", "bytes": 0}, [])
Read: TypeAlias = Callable[[int], bytes | memoryview]
"""`read(n)` gives the next n bytes, fewer only at the end."""
TargetsOf: TypeAlias = Callable[[list[Any]], list[int]]
"""The partition of each key."""


def encode_block(keys: Keys | list[bytes], values: Column | Integers) -> bytes:
    """The block of aligned columns. Keys as bytes are UTF-8 and hold no newline."""
    return _block(len(keys), _encode_keys(keys), _encode_column(values))


def encode_batch(batch: Batch) -> bytes:
    """The block of a batch, which `read_blocks` gives back as it was."""
    match batch:
        case Keyed(keys, values):
            return encode_block(keys, values)
        case Values(values):
            return _block(len(values), _NO_KEYS, _encode_column(values))
        case TextChunk(text, skip_blank):
            raw = text.encode()
            head = {"kind": "chunk", "bytes": len(raw), "skip_blank": skip_blank}
            return _block(0, _NO_KEYS, (head, [raw]))
        case _:
            assert_never(batch)


def _block(count: int, keys: Encoded, values: Encoded) -> bytes:
    (key_head, key_parts), (value_head, value_parts) = keys, values
    payload = b"".join((*key_parts, *value_parts))
    header = {"n": count, "crc": crc32(payload), "keys": key_head, "values": value_head}
    head = json.dumps(header, separators=(",", ":")).encode()
    # the header guards the payload; its own crc comes first
    return b"".join((_HEAD.pack(len(head), crc32(head)), head, payload))


def encode_blocks(
    keys: Keys, values: Column, count: int, targets_of: TargetsOf | None = None
) -> list[bytes]:
    """The block of each of `count` partitions, records by the crc32 of their key, or as
    `targets_of` says, in their order; empty for a partition without records.
    """
    if count == 1:
        return [encode_block(keys, values)]
    columns: list[Any] = keys
    if targets_of is not None:
        targets = targets_of(keys)
    else:
        columns = encoded_keys(keys) or keys
        targets = crc32_partitions(columns, count)
    parts = deal(columns, values, targets, count)
    return [encode_block(*part) if part[0] else b"" for part in parts]


def deal(
    keys: list[Any], values: Column, targets: list[int], count: int
) -> Iterator[tuple[list[Any], Column]]:
    """For each partition the keys and values whose target it is, in their order."""
    if count <= SELECTIONS_MAX:
        for partition in range(count):
            flags = [target == partition for target in targets]
            if isinstance(values, Constant):
                yield list(compress(keys, flags)), values
            else:
                yield list(compress(keys, flags)), list(compress(values, flags))
        return
    order = sorted(range(len(targets)), key=targets.__getitem__)  # stable
    keys = list(map(keys.__getitem__, order))
    sizes = [0] * count
    for target in targets:
        sizes[target] += 1
    column = values if isinstance(values, Constant) else list(map(values.__getitem__, order))
    start = 0
    for size in sizes:
        end = start + size
        yield keys[start:end], column if isinstance(column, Constant) else column[start:end]
        start = end


def decode_blocks(data: bytes | memoryview) -> Iterator[Batch]:
    """The records of blocks that stand back to back. Raises CorruptBlock."""
    at = 0

    def read(size: int) -> memoryview:
        nonlocal at
        start, at = at, at + size
        return view[start:at]

    view = memoryview(data)
    return read_blocks(read)


def read_blocks(read: Read) -> Iterator[Batch]:
    """The records of blocks that stand back to back, block by block. Raises CorruptBlock when a
    byte is missing or wrong, and what `read` raises.
    """
    for header, payload in _checked(read):
        yield _batch(header, payload)


def check_blocks(read: Read) -> None:
    """Read them and keep nothing. Raises as `read_blocks` does."""
    for _ in _checked(read):
        pass


def _checked(read: Read) -> Iterator[tuple[dict[str, Any], memoryview]]:
    while start := read(_HEAD.size):
        if len(start) < _HEAD.size:
            raise CorruptBlock(f"a shuffle block of {len(start)} bytes is cut off")
        size, crc = _HEAD.unpack(start)
        head = read(size) if size <= HEADER_BYTES_MAX else b""
        if len(head) != size or crc32(head) != crc:
            raise CorruptBlock("a shuffle block's header is damaged")
        header: dict[str, Any] = json.loads(bytes(head))
        payload = read(header["keys"]["bytes"] + header["values"]["bytes"])
        if crc32(payload) != header["crc"]:
            raise CorruptBlock("a shuffle block's checksum does not match its data")
        yield header, memoryview(payload)


def _batch(header: dict[str, Any], payload: memoryview) -> Batch:
    cut, head = header["keys"]["bytes"], header["values"]
    if head["kind"] == "chunk":
        return TextChunk(str(payload, "utf-8"), head["skip_blank"])
    values = _decode_column(head, payload[cut:], header["n"])
    is_json = head["kind"] == "json" or (head["kind"] == "int64" and "is_text" not in head)
    if header["keys"]["kind"] == "none":
        match values:
            case Constant(value):
                return Values([value] * header["n"])
            case Integers(numbers):
                return Values(list(map(str, numbers)))
            case _:
                return Values(values, is_json)
    keys = _decode_column(header["keys"], payload[:cut], header["n"])
    return Keyed(keys, values, not header["keys"]["nulls"], is_json)


def _encode_keys(keys: Keys | list[bytes]) -> Encoded:
    if keys and isinstance(keys[0], bytes):
        raw = b"\n".join(keys)
        return {"kind": "lines", "bytes": len(raw), "nulls": 0}, [raw]
    if keys and keys[0] is None and keys.count(None) == len(keys):
        return _NO_KEYS
    return _encode_texts(keys)  # type: ignore[arg-type]


def _encode_column(column: Column | Integers) -> Encoded:
    if isinstance(column, Constant):
        raw = column.value.encode()
        return {"kind": "constant", "bytes": len(raw)}, [raw]
    if isinstance(column, Integers):
        head, parts = _encode_column(column.values)
        if head["kind"] == "int64":
            return head | {"is_text": True}, parts
        return _encode_texts(list(map(str, column.values)))
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


def _encode_json(column: list[Any]) -> Encoded:
    raw = "\n".join(map(json_text, column)).encode()
    return {"kind": "json", "bytes": len(raw)}, [raw]


def _encode_texts(texts: Keys) -> Encoded:
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
            numbers = _numbers(data).tolist()
            return Integers(numbers) if head.get("is_text") else numbers
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
