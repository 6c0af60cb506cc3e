"""Whole records: which of them are equal, which are chosen, which come first.

Must not know why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import compress, islice

from minispark.compute.batch import (
    Batch,
    Constant,
    Keyed,
    batch_of,
    json_text,
    record_count,
    records,
)
from minispark.model.plan import Sample


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


def sampled(batches: Iterable[Batch], step: Sample, partition: int) -> Iterator[Batch]:
    """About `step.fraction` of the records: those whose position hashes low enough. The same seed,
    partition and order give the same ones, in every attempt.
    """
    salt = f"{step.seed}/{partition}/".encode()
    limit = int(step.fraction * 2**64)
    position = 0
    for batch in batches:
        rows = list(records(batch))
        digests = (
            blake2b(b"%s%d" % (salt, at), digest_size=8).digest()
            for at in range(position, position + len(rows))
        )
        position += len(rows)
        flags = [int.from_bytes(digest) < limit for digest in digests]
        yield batch_of(list(compress(rows, flags)))
