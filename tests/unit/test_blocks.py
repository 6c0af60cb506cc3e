"""Shuffle blocks, partitioners and documented files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.compute import documented
from minispark.compute.batch import (
    Constant,
    Integers,
    Keyed,
    Values,
    batch_of,
    records,
    value_list,
)
from minispark.compute.blocks import decode_blocks, encode_block, encode_blocks
from minispark.compute.partition import (
    crc32_partition,
    crc32_partitions,
    documented_partition,
    documented_partitions,
    encoded_keys,
)
from minispark.errors import CorruptBlock

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = st.lists(TEXT, max_size=8) | st.lists(st.none() | TEXT, max_size=8)


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[str | None], list[str] | list[int] | Constant]:
    keys = draw(KEYS)
    count = len(keys)
    values = draw(
        st.lists(TEXT, min_size=count, max_size=count)
        | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=count, max_size=count)
        | st.builds(Constant, TEXT)
    )
    return keys, values


@settings(max_examples=300, deadline=None)
@given(columns())
def test_a_block_survives(block: tuple[list[str | None], list[str] | list[int] | Constant]) -> None:
    keys, values = block
    (batch,) = decode_blocks(encode_block(keys, values))
    if keys and set(keys) == {None}:
        assert isinstance(batch, Values)
        assert batch.values == value_list(Keyed(keys, values))
    else:
        assert isinstance(batch, Keyed)
        assert (batch.keys, batch.values) == block


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(JSON, max_size=6))
def test_values_keep_their_type(values: list[object]) -> None:
    (batch,) = decode_blocks(encode_block(["k"] * len(values), values))
    assert batch.values == values
    assert list(map(type, batch.values)) == list(map(type, values))  # True is not 1
    assert batch.is_json or all(type(value) is str for value in values)


@settings(max_examples=200, deadline=None)
@given(columns(), st.integers(1, 9))
def test_records_are_dealt_out_by_their_key(
    block: tuple[list[str | None], list[str] | list[int] | Constant], count: int
) -> None:
    keys, values = block
    blocks = encode_blocks(keys, values, count)
    assert len(blocks) == count
    column = value_list(Keyed(keys, values))
    for partition, data in enumerate(blocks):
        rows = [row for batch in decode_blocks(data) for row in records(batch)]
        assert rows == [
            (key, value)
            for key, value in zip(keys, column, strict=True)
            if crc32_partition(key, count) == partition
        ]


def test_any_damage_is_seen() -> None:
    block = encode_block(["a", "ñ\n", "c"], [1, 2, 3])
    for i in range(len(block)):
        damaged = bytearray(block)
        damaged[i] ^= 0x41
        with pytest.raises(CorruptBlock):
            list(decode_blocks(bytes(damaged)))
        if i:
            with pytest.raises(CorruptBlock):
                list(decode_blocks(block[:i]))


@given(keys=KEYS, count=st.integers(1, 9))
def test_partitions_of_a_column_are_those_of_its_keys(keys: list[str | None], count: int) -> None:
    expected = [crc32((key or "").encode()) % count for key in keys]
    assert crc32_partitions(keys, count) == expected
    encoded = encoded_keys(keys)
    assert encoded is None or crc32_partitions(encoded, count) == expected
    assert [crc32_partition(key, count) for key in keys] == expected


@given(key=TEXT, count=st.integers(1, 9))
def test_the_documented_hash(key: str, count: int) -> None:
    data = key.encode()
    powers = sum(byte * 31 ** (len(data) - 1 - i) for i, byte in enumerate(data))
    assert documented_partition(key, count) == powers % 2**32 % count
    assert documented_partition(None, count) == 0


@given(keys=st.lists(st.none() | TEXT), count=st.integers(1, 9))
def test_blocks_by_the_documented_hash(keys: list[str | None], count: int) -> None:
    values = [str(i) for i in range(len(keys))]
    expected = [documented_partition(key, count) for key in keys]
    assert documented_partitions(keys, count) == expected
    targets_of = partial(documented_partitions, count=count)
    for partition, block in enumerate(encode_blocks(keys, values, count, targets_of)):
        rows = [row for batch in decode_blocks(block) for row in records(batch)]
        pairs = zip(keys, values, expected, strict=True)
        assert rows == [(k, v) for k, v, target in pairs if target == partition]


ROWS = st.lists(st.tuples(st.none() | TEXT, TEXT), max_size=6)


@given(st.lists(ROWS, max_size=3))
def test_documented_files_are_json_and_read_back(
    batches: list[list[tuple[str | None, str]]],
) -> None:
    columns_ = [Keyed([k for k, _ in rows], [v for _, v in rows]) for rows in batches]
    text = "".join(documented.render(columns_))
    flat = [row for rows in batches for row in rows]
    assert json.loads(text) == {"records": [{"key": k, "value": v} for k, v in flat]}
    assert documented.parse(text) == flat


def test_every_kind_of_batch_is_rendered() -> None:
    for batch in (
        Values(["a", '"']),
        Keyed(["k"], Constant("1")),
        Keyed(["k", None], ["a", "b"]),
        Keyed(["k", '"'], Integers([2, -3])),
        Keyed([None], Integers([1])),
        Keyed(["k"], ["\t"]),
        Keyed(["k"], Constant('"')),
        Keyed([], Constant("1")),
        Values([1, None, "x"], is_json=True),
        Keyed(["k", "l"], [1, -2], is_json=True),
        Keyed(["k", None], [1, -2], is_json=True),
        Keyed(["k", "l"], [1, True], is_json=True),
    ):
        assert documented.parse("".join(documented.render([batch]))) == list(records(batch))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(ROWS, st.integers(1, 40), st.sampled_from([None, 1]))
def test_documented_files_are_read_piece_by_piece(
    rows: list[tuple[str | None, str]], size: int, indent: int | None
) -> None:
    document = {"records": [{"key": key, "value": value} for key, value in rows]}
    data = json.dumps(document, ensure_ascii=False, indent=indent).encode()
    assert list(documented.read_texts(cut(data, size))) == rows


@given(ROWS.filter(len), st.data())
def test_a_documented_file_that_ends_early_is_no_result(
    rows: list[tuple[str | None, str]], data: st.DataObject
) -> None:
    text = "".join(documented.render([Keyed([k for k, _ in rows], [v for _, v in rows])])).encode()
    end = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(CorruptBlock):
        list(documented.read_texts(cut(text[:end], 7)))


def test_reading_piece_by_piece_holds_no_more_than_a_piece() -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        yield b'{"records":['
        for _ in range(1000):
            taken += 1
            yield b'{"key":"k","value":"v"},'

    rows = documented.read_texts(pieces())
    assert [next(rows) for _ in range(10)] == [("k", "v")] * 10
    assert taken <= 12


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"records": 1}',
        '{"records": [{"key": 1}]}',
        '{"records": [{}',
        '{"records": [3]}',
    ],
)
def test_what_is_no_documented_file_is_refused(text: str) -> None:
    with pytest.raises(CorruptBlock):
        documented.parse(text)
    with pytest.raises(CorruptBlock):
        list(documented.read_texts([text.encode()]))


FIELDS = st.text(st.sampled_from('a\n"\\},{:\u2028\x85é'), max_size=6) | st.sampled_from(
    ['},{"key":', '","value":', ',"t":"json"}', '{"records":[']
)
VALUES = FIELDS | st.integers() | st.lists(FIELDS, max_size=2)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(st.none() | FIELDS, VALUES), max_size=8),
    size=st.integers(1, 60),
    is_foreign=st.booleans(),
)
def test_lines_of_a_documented_file_say_what_its_records_say(
    rows: list[tuple[str | None, object]], size: int, is_foreign: bool
) -> None:
    text = "".join(documented.render([batch_of(rows)] if rows else []))
    data = (json.dumps(json.loads(text)) if is_foreign else text).encode()
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    found = list(documented.read_lines(pieces))
    lines = b"".join(lines for lines, _ in found).decode()
    assert sum(count for _, count in found) == lines.count("\n") == len(rows)
    expected = list(documented.read_texts(pieces))
    assert [tuple(json.loads(line).values()) for line in lines.split("\n")[:-1]] == expected
    assert lines == "".join(
        json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n"
        for key, value in expected
    )


@pytest.mark.parametrize("at", [5, 30, 60, -1])
def test_lines_before_the_damage_of_a_documented_file_are_given(at: int) -> None:
    rows: list[Any] = [(f"key {i}", f"value {i}") for i in range(4)]
    text = "".join(documented.render([batch_of(rows)]))
    data = text[:at] + "#" + text[at:]
    found: list[bytes] = []
    with pytest.raises(CorruptBlock):
        for lines, _ in documented.read_lines([data[:50].encode(), data[50:].encode()]):
            found.append(lines)
    given = b"".join(found).count(b"\n")
    assert given == {5: 0, 30: 0, 60: 1, -1: 4}[at]


@pytest.mark.parametrize("damage", [b"\xff", b"\x01", b"\n", b'"', b"\\x", b"\\u12"])
def test_no_line_is_given_that_is_no_json(damage: bytes) -> None:
    """Within the second of four values."""
    rows: list[Any] = [(f"key {i}", f"value {i}") for i in range(4)]
    data = "".join(documented.render([batch_of(rows)])).encode()
    given: list[bytes] = []
    with pytest.raises(CorruptBlock):
        given.extend(
            lines for lines, _ in documented.read_lines([data.replace(b"ue 1", b"ue %b1" % damage)])
        )
    assert [json.loads(line)["key"] for line in b"".join(given).split(b"\n")[:-1]] in (
        [],
        ["key 0"],
    )
