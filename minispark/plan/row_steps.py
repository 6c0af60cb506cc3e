"""The steps of operators that choose records by number: sample, take. Must not know stages."""

from __future__ import annotations

from minispark.model.steps import Limit, Sample
from minispark.plan.logical import LogicalNode


def sample_step(node: LogicalNode) -> Sample:
    assert node.node.fraction is not None
    return Sample(node.id, node.node.fraction, node.node.seed)


def limit_step(node: LogicalNode) -> Limit:
    assert node.node.n is not None
    return Limit(node.id, node.node.n)
