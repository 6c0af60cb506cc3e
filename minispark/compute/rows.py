"""Whole records: which of them are equal, which are chosen, which come first.

Must not know why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from heapq import nsmallest
from itertools import chain, compress, islice

from minispark.compute.batch import (
    Batch,
    Constant,
    Keyed,
    batch_of,
    json_text,
    record_count,
    records,
)
from minispark.model.steps import Sample

SAMPLED_KEYS = 1000
"""Of one task: bounds between 10 partitions are then some percent off."""


def whole_record_keys(batch: Batch) -> Keyed:
    """(JSON text of [key, value], "1") for each record."""
    keys = [json_text(record) for record in records(batch)]
    return Keyed(keys, Constant("1"), is_complete=True)


def records_of_keys(batch: Batch) -> Batch:
    """The records that `whole_record_keys` made keys of."""
    assert isinstance(batch, Keyed)
    rows = json.loads(f"[{','.join(batch.keys)}]")  # type: ignore[arg-type]
    return batch_of([(key, value) for key, value in rows])


def first_records(batches: Iterable[Batch], n: int) -> Iterator[Batch]:
    """The first `n` records; no more batches are asked for than hold them."""
    left = n
    if left == 0:
        return
    for batch in batches:
        count = record_count(batch)
        if count >= left:
            yield batch if count == left else batch_of(list(islice(records(batch), left)))
            return
        left -= count
        yield batch


def sampled_keys(batches: Iterable[Batch], partition: int) -> Iterator[Keyed]:
    """Up to SAMPLED_KEYS of the keys, whose positions hash lowest, each with the number of records
    that it stands for as its value.
    """
    salt = f"keys/{partition}/".encode()
    chosen: list[tuple[bytes, str]] = []
    count = 0
    for batch in batches:
        assert isinstance(batch, Keyed)
        numbered = zip(_digests(salt, count, len(batch.keys)), batch.keys, strict=True)
        chosen = nsmallest(SAMPLED_KEYS, chain(chosen, numbered))  # type: ignore[arg-type]
        count += len(batch.keys)
    if chosen:
        weight = str(max(1, count // len(chosen)))
        yield Keyed([key for _, key in chosen], Constant(weight), is_complete=True)


def _digests(salt: bytes, start: int, count: int) -> Iterator[bytes]:
    """A hash of each position from `start` on."""
    return (
        blake2b(b"%s%d" % (salt, at), digest_size=8).digest() for at in range(start, start + count)
    )


def sampled(batches: Iterable[Batch], step: Sample, partition: int) -> Iterator[Batch]:
    """About `step.fraction` of the records: those whose position hashes low enough. The same seed,
    partition and order give the same ones, in every attempt.
    """
    salt = f"{step.seed}/{partition}/".encode()
    limit = int(step.fraction * 2**64)
    position = 0
    for batch in batches:
        rows = list(records(batch))
        digests = _digests(salt, position, len(rows))
        position += len(rows)
        flags = [int.from_bytes(digest) < limit for digest in digests]
        yield batch_of(list(compress(rows, flags)))
