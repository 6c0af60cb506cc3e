"""Messages survive the wire, and what is wrong with others is named."""

from __future__ import annotations

import json

import pytest

from minispark.errors import ProtocolError
from minispark.model.job import ReaderOptions
from minispark.model.plan import (
    FetchShuffle,
    Join,
    MadeOutput,
    OutputLocation,
    PartitionFile,
    ReadSplits,
    ShuffleBlocks,
    Split,
    StageProgram,
    TaskOrder,
    TaskOutcome,
)
from minispark.model.steps import Aggregate, Narrow, RequireKey
from minispark.transport import messages as msg
from minispark.transport.codec import decode, encode
from minispark.transport.object_code import type_name

ORDER = TaskOrder(
    "a", "j", 1, "read+map", 2, 0, 4, (Split("/x", 0, 9, 3, "gz", 20, 7),), "j/1/0", ((0, 3),)
)
PLACE = OutputLocation(0, 1, "a", "w", "127.0.0.1", 9000, "h", "/s")
READ = ReadSplits("r", "csv", ReaderOptions(errors="replace"), ("a", "b"))
JOIN = Join("j", READ, FetchShuffle(1, broadcast=True), (Narrow("m", "map", "identity"),))

MESSAGES = [
    msg.Hello(1, "0.1.0", "3.11", "n"),
    msg.Refused("unknown_type", "ñandú \u2028 \x00"),
    msg.Register("w", "n", "h", 1, 2, 3, "hid", "/s", None, ("a", "b"), ("b",)),
    msg.Heartbeat("w", 3),
    msg.Reports(
        (
            msg.Started("a"),
            msg.Succeeded("a", TaskOutcome(5, 6, files=(("x", "y"),))),
            msg.Failed("a", "error", "why"),
            msg.FetchFailed("a", ("b", "c"), "gone"),
            msg.CacheMissed("a"),
            msg.Committed("a"),
            msg.CommitFailed("a", "full"),
        ),
        7,
    ),
    msg.Confirmed(7),
    msg.Registered("w", 2.0, 300.0, "h", 8080, ("x",)),
    msg.MasterPlace("h", "127.0.0.1", 8080),
    msg.Launch((ORDER,), {"j/1": StageProgram(JOIN, (), PartitionFile("j"))}, {"o": (PLACE,)}),
    msg.Run(
        ORDER,
        StageProgram(
            FetchShuffle(0, combined=True),
            (RequireKey("x"), Aggregate("a", "sum", partial_in=True)),
            ShuffleBlocks("b", 3, None),
        ),
        (PLACE,),
    ),
    msg.OutputsMade(("a", "b"), (MadeOutput(0, 1, PLACE), MadeOutput(0, 2, None))),
    msg.Bulk(12),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_survives_the_wire(message: msg.Message) -> None:
    assert decode(encode(message)) == message


def test_type_is_the_class_in_snake_case() -> None:
    assert json.loads(encode(msg.FetchBlock("a", 1)))["type"] == "fetch_block"
    assert type_name(msg.CommitFailed) == "commit_failed"


def test_unknown_fields_are_ignored() -> None:
    assert decode(b'{"type": "bulk", "bytes": 1, "colour": "red"}') == msg.Bulk(1)


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        (b"\xff\xfe", "bad_json", "no JSON"),
        (b"[" * 100_000, "bad_json", "no JSON"),
        (b'{"type": "launch_missiles"}', "unknown_type", "launch_missiles"),
        (b"{}", "unknown_type", "None"),
        (b'{"type": []}', "unknown_type", "[]"),
        (b'{"type": "reports", "reports": [{"type": {}}]}', "bad_message", "started"),
        ('{"type": "bulk"}'.encode("utf-16"), "bad_json", "no JSON"),
        (b'{"type": "fetch_file", "name": "\\ud800"}', "bad_json", "surrogate"),
        (b'{"type": "fetch_file", "name": "\\uDC00\\ud800"}', "bad_json", "surrogate"),
        (b'{"type": "fetch_file", "name": "a", "x": [{"\\udfff": 1}]}', "bad_json", "surrogate"),
        (b'{"type": "fetch_file", "name": "\xed\xa0\x80"}', "bad_json", "utf-8"),
        (b'{"type": "bulk", "bytes": 9223372036854775808}', "bad_message", "64 bits"),
        (b'{"type": "bulk", "bytes": -1' + b"0" * 30 + b"}", "bad_message", "64 bits"),
        (b'{"type": "bulk", "bytes": 1' + b"0" * 5000 + b"}", "bad_json", "no JSON"),
        (b"[]", "bad_message", "object"),
        (b'{"type": "bulk"}', "bad_message", "lacks bytes"),
        (b'{"type": "bulk", "bytes": "1"}', "bad_message", "bulk.bytes"),
        (b'{"type": "bulk", "bytes": true}', "bad_message", "bulk.bytes"),
        (b'{"type": "reports", "reports": [{"type": "no"}]}', "bad_message", "started"),
    ],
)
def test_f50_what_is_wrong_with_a_message_is_named(payload: bytes, code: str, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(payload)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_only_looks_like_half_a_pair_is_text() -> None:
    smile, path = b'{"type":"fetch_file","name":"\\ud83d\\ude00"}', r"C:\ud800"
    assert decode(smile) == msg.FetchFile("\U0001f600")
    assert decode(encode(msg.FetchFile(path))) == msg.FetchFile(path)


def test_an_error_that_is_no_text_can_be_reported() -> None:
    assert decode(encode(msg.Failed("a", "error", "not \ud800"))) == msg.Failed(
        "a", "error", "not ?"
    )
