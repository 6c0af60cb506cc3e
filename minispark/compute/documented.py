"""Documented partition files: `{"records": [{"key": ..., "value": ...}]}`, written and read as
text. A value that is no text is written as its JSON text, with `"t": "json"` beside it.

Written by hand with the C string escaper, a quarter of the cost of the json module. Must not know
files.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from json.encoder import encode_basestring as _escape
from typing import Any

from minispark.compute.batch import (
    Batch,
    Constant,
    Integers,
    Keyed,
    Record,
    has_json,
    json_text,
    records,
    slices,
    value_list,
)
from minispark.errors import CorruptBlock

RECORDS_PER_PIECE = 8192
RECORD_CHARS_MAX = 1 << 28
"""A longer record than that is damage: the rest of the file would be kept in search of its end."""

HEAD = '{"records":['
TAIL = "]}"


def render(batches: Iterable[Batch]) -> Iterator[str]:
    """The file's text, piece by piece."""
    separator = HEAD
    for batch in batches:
        for piece in _pieces(batch):
            yield separator
            yield piece
            separator = ","
    yield (HEAD if separator is HEAD else "") + TAIL


def _pieces(batch: Batch) -> Iterator[str]:
    """The records' JSON objects with commas between them, RECORDS_PER_PIECE at a time."""
    if isinstance(batch, Keyed) and has_json(batch) and set(map(type, value_list(batch))) == {int}:
        for piece in slices(batch, RECORDS_PER_PIECE):
            numbers = Keyed(piece.keys, Integers(value_list(piece)))
            yield _keyed_rows(numbers, ',"t":"json"')
    elif has_json(batch):
        rows = [_json_row(key, value) for key, value in records(batch)]
        for start in range(0, len(rows), RECORDS_PER_PIECE):
            yield ",".join(rows[start : start + RECORDS_PER_PIECE])
    elif isinstance(batch, Keyed):
        for piece in slices(batch, RECORDS_PER_PIECE):
            yield _keyed_rows(piece)
    else:
        values = value_list(batch)
        for start in range(0, len(values), RECORDS_PER_PIECE):
            texts = _escaped(values[start : start + RECORDS_PER_PIECE])
            yield '{"key":null,"value":"' + '"},{"key":null,"value":"'.join(texts) + '"}'


def _keyed_rows(batch: Keyed, mark: str = "") -> str:
    """Rows are joined from their texts by what stands between them: no object is made for one.

    `mark` stands at the end of each.
    """
    if None in batch.keys:
        rows = (_json_row(key, value) for key, value in records(batch))
        return ",".join(f"{row[:-1]}{mark}}}" for row in rows)
    keys = _escaped(batch.keys)  # type: ignore[arg-type]
    if isinstance(batch.values, Constant):
        tail = f'","value":{_escape(batch.values.value)}}}'
        return '{"key":"' + (tail + ',{"key":"').join(keys) + tail
    is_number = isinstance(batch.values, Integers)
    texts = value_list(batch) if is_number else _escaped(value_list(batch))
    pairs = map('","value":"'.join, zip(keys, texts, strict=True))
    return '{"key":"' + f'"{mark}}},{{"key":"'.join(pairs) + f'"{mark}}}'


def _escaped(texts: list[str]) -> list[str]:
    """The texts as they stand between the quotes of a JSON string."""
    whole = "".join(texts)
    if whole.isprintable() and '"' not in whole and "\\" not in whole:
        return texts  # nothing to escape: what JSON escapes is not printable, or one of these
    return [escaped[1:-1] for escaped in map(_escape, texts)]


def _json_row(key: str | None, value: Any) -> str:
    if type(value) is str:
        return f'{{"key":{_key(key)},"value":{_escape(value)}}}'
    return f'{{"key":{_key(key)},"value":{_escape(json_text(value))},"t":"json"}}'


def _key(key: str | None) -> str:
    return "null" if key is None else _escape(key)


def parse(text: str | bytes) -> list[Record]:
    """The records of a documented file. Raises CorruptBlock when it is none."""
    return [(row["key"], _value(row)) for row in _rows(text)]


def read_texts(pieces: Iterable[bytes]) -> Iterator[tuple[str | None, str]]:
    """The records of a documented file that comes in pieces, every value as text.

    Holds one piece, and a record that is not whole yet. Raises CorruptBlock when it is none, after
    the records before the damage.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest, is_open, is_over = "", False, False
    try:
        for data in pieces:
            rest += decoder.decode(data)
            if len(rest) > RECORD_CHARS_MAX:
                raise ValueError("a record that does not end")
            at = 0
            if not is_open and (opening := _OPENING.match(rest)) is not None:
                is_open, at, is_over = True, opening.end(), opening[1] is not None
            while is_open and not is_over and (found := _row_at(rest, at)) is not None:
                row, at, is_over = found
                yield row["key"], row["value"]
            rest = rest[at:]
        if not is_over or (rest + decoder.decode(b"", final=True)).strip() != "}":
            raise ValueError(f"it ends with {rest[-20:]!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise _no_documented_file(error) from error


def read_lines(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """The records of a documented file that comes in pieces, as lines of JSON with text values,
    many at a time, and how many they are. Raises as `read_texts` does.

    What our own workers wrote is taken as it stands, once it is known to be JSON: what stands
    between two records, or two fields, can stand in no string, where its quotes are escaped.
    """
    source, rest = iter(pieces), b""
    for data in source:
        rest += data
        if not rest.startswith(_HEAD) or len(rest) > RECORD_CHARS_MAX:
            break
        end = rest.rfind(_BETWEEN) + 2
        if end < 2:
            continue
        rows = rest[len(_HEAD) : end]
        if not _are_known(rows):
            break
        lines = _as_lines(rows)
        yield lines, lines.count(b"\n")
        rest = _HEAD + rest[end:]
    for key, value in read_texts(chain([rest], source)):
        yield (json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n").encode(), 1


_HEAD = HEAD.encode()
_BETWEEN = b'},{"key":'
_STRING = rb'"[^"\\]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\]*+)*+"'
_KNOWN_ROWS = re.compile(
    rb'(?:\{"key":(?:%b|null),"value":%b(?:,"t":"json")?\},)*+' % (_STRING, _STRING)
)
_CONTROLS = bytes(range(32))
"""JSON has them in no string."""


def _are_known(rows: bytes) -> bool:
    """Whether they are as `render` writes them, each with a comma behind it."""
    try:
        rows.decode()
    except ValueError:
        return False
    is_printed = len(rows.translate(None, _CONTROLS)) == len(rows)
    return is_printed and _KNOWN_ROWS.fullmatch(rows) is not None


def _as_lines(rows: bytes) -> bytes:
    if b',"t":"json"' in rows:
        rows = rows.replace(b',"t":"json"}', b"}")
    rows = rows.replace(_BETWEEN, b'}\n{"key": ').replace(b',"value":', b', "value": ')
    return b'{"key": %b\n' % rows[len('{"key":') : -1]


_OPENING = re.compile(r'\s*\{\s*"records"\s*:\s*\[\s*(?:(\])|(?=\{))')
_AFTER_ROW = re.compile(r"\s*(?:(\])|,\s*(?=\{))")
_raw_decode = json.JSONDecoder().raw_decode


def _row_at(text: str, at: int) -> tuple[dict[str, Any], int, bool] | None:
    """The record at that place, where what follows it begins, and whether it is the last one.

    None when the text ends before all that is known.
    """
    try:
        row, end = _raw_decode(text, at)
    except json.JSONDecodeError:
        return None  # or it is damaged: then nothing will make it whole
    after = _AFTER_ROW.match(text, end)
    return (row, after.end(), after[1] is not None) if after is not None else None


def _rows(text: str | bytes) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = json.loads(text)["records"]
        if not all("key" in row and "value" in row for row in rows):
            raise KeyError("key, value")
        return rows
    except (ValueError, KeyError, TypeError) as error:
        raise _no_documented_file(error) from error


def _no_documented_file(error: Exception) -> CorruptBlock:
    return CorruptBlock(f"this is no documented partition file: {error!r}")


def _value(row: dict[str, Any]) -> Any:
    return json.loads(row["value"]) if row.get("t") == "json" else row["value"]
