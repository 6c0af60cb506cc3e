"""Shuffle blocks: a length-prefixed JSON header, then raw columns, guarded by a crc32.

Layout: 4 bytes of header length, 4 of its crc32, the header `{"n", "crc", "keys": column, "values":
column}`, payload. Several may stand back to back.
A column is `{"kind", "bytes"}`: `lines` (texts joined by newlines), `sized` (int64 lengths in
characters, then the texts), `int64`, `json` (values as JSON, one a line), `constant`; `nulls` gives
the size of a mask before the texts of a key column that has records without a key; where none has
one, its kind is `none`. Must not know files.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate, compress
from typing import Any, TypeAlias
from zlib import crc32

from minispark.compute.batch import Constant, Keyed, Values, json_text
from minispark.compute.partition import crc32_partitions, encoded_keys
from minispark.errors import CorruptBlock

_HEAD = struct.Struct(">II")
HEADER_BYTES_MAX = 64 * 1024 * 1024
SELECTIONS_MAX = 4
"""Up to so many partitions it is cheaper to select from all records for each than to sort them."""

Keys = list[str] | list[str | None]
Column = list[Any] | Constant
TargetsOf: TypeAlias = Callable[[list[Any]], list[int]]
"""The partition of each key."""


def encode_block(keys: Keys | list[bytes], values: Column) -> bytes:
    """The block of aligned columns. Keys as bytes are UTF-8 and hold no newline."""
    key_head, key_parts = _encode_keys(keys)
    value_head, value_parts = _encode_column(values)
    payload = b"".join((*key_parts, *value_parts))
    header = {"n": len(keys), "crc": crc32(payload), "keys": key_head, "values": value_head}
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


def decode_blocks(data: bytes) -> Iterator[Keyed | Values]:
    """The records of blocks that stand back to back. Raises CorruptBlock."""
    at = 0

    def read(size: int) -> memoryview:
        nonlocal at
        start, at = at, at + size
        return view[start:at]

    view = memoryview(data)
    return read_blocks(read)


def read_blocks(read: Callable[[int], bytes | memoryview]) -> Iterator[Keyed | Values]:
    """The records of blocks that stand back to back, block by block. Raises CorruptBlock when a
    byte is missing or wrong, and what `read` raises.

    `read(n)` gives the next n bytes, fewer only at the end.
    """
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
        yield _batch(header, memoryview(payload))


def _batch(header: dict[str, Any], payload: memoryview) -> Keyed | Values:
    cut = header["keys"]["bytes"]
    values = _decode_column(header["values"], payload[cut:], header["n"])
    is_json = header["values"]["kind"] in ("int64", "json")
    if header["keys"]["kind"] == "none":
        column = [values.value] * header["n"] if isinstance(values, Constant) else values
        return Values(column, is_json)
    keys = _decode_column(header["keys"], payload[:cut], header["n"])
    return Keyed(keys, values, is_json=is_json)


def _encode_keys(keys: Keys | list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    if keys and isinstance(keys[0], bytes):
        raw = b"\n".join(keys)
        return {"kind": "lines", "bytes": len(raw), "nulls": 0}, [raw]
    if keys and keys[0] is None and keys.count(None) == len(keys):
        return {"kind": "none", "bytes": 0}, []
    return _encode_texts(keys)  # type: ignore[arg-type]


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
