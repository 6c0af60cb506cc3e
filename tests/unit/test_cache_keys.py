"""Under which names tasks keep records, and which stages have such tasks at all."""

from __future__ import annotations

import pytest

from minispark.model.cache_keys import chain_keys, keeps_for_job, uses_cache
from minispark.model.plan import Branch, ShuffleBlocks, StageProgram, UnionAll
from minispark.model.steps import Cache
from tests.simulation.plans import READ

SINK = ShuffleBlocks("n", 1, None)


@pytest.mark.parametrize("lineage", ["lineage", None])
def test_one_branch_of_a_union_that_is_kept_is_enough(lineage: str | None) -> None:
    branches = (Branch(READ, (), 2), Branch(READ, (Cache("c", lineage),), 3))
    program = StageProgram(UnionAll("u", branches), (), SINK)
    assert uses_cache(program)
    assert keeps_for_job(program) == (lineage is None)
    assert chain_keys(program, "j", 1) == ()
    assert chain_keys(program, "j", 2) == (("lineage:0",) if lineage else ("j:c:0",))


def test_a_chain_without_a_cache_uses_none() -> None:
    program = StageProgram(UnionAll("u", (Branch(READ, (), 2),)), (), SINK)
    assert not uses_cache(program) and not keeps_for_job(program)
