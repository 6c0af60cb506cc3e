"""The simulation finds bugs: each of these is planted by hand, and must be seen (F61)."""

from __future__ import annotations

import pytest

from tests.simulation import planted as _planted  # noqa: F401 - each of them enters BUGS
from tests.simulation import planted_caches as _caches  # noqa: F401 - so do these
from tests.simulation import planted_counts as _counts  # noqa: F401 - as these do
from tests.simulation import planted_driven as _driven  # noqa: F401
from tests.simulation import planted_master as _planted_master  # noqa: F401
from tests.simulation.planting import BUGS, PlantedBug


@pytest.mark.parametrize("planted", BUGS, ids=lambda planted: planted.name.replace(" ", "-"))
def test_f61_a_planted_bug_is_seen(planted: PlantedBug) -> None:
    seed, how = planted.first_seen()
    planted.run_without(seed)
    print(f"seen at seed {seed}: {how}")
