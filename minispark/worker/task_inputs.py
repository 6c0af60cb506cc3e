"""Where the outputs lie that one task reads, of which some are still being made when it begins.

Must not know how they are fetched, nor who says that they are there.
"""

from __future__ import annotations

from collections.abc import Callable

from minispark.errors import CacheMissed
from minispark.model.plan import MadeOutput, OutputLocation


class TaskInputs:
    """Known when the task began, or heard of since then."""

    def __init__(
        self,
        places: tuple[OutputLocation, ...],
        awaited: tuple[tuple[int, int], ...],
        listen: Callable[[], tuple[MadeOutput, ...]],
        unmade: tuple[int, ...] = (),
    ) -> None:
        """`listen` blocks until something awaited can be read. `unmade`: stages whose outputs are
        not made, as nobody was expected to read them.
        """
        self._places = {(place.stage_index, place.partition): place for place in places}
        self._awaited = dict.fromkeys(awaited)
        self._listen = listen
        self._unmade = unmade

    def partitions(self, stage_index: int) -> list[int]:
        """Of the stage's outputs, those that have records or may have some, in order. Raises
        CacheMissed where the stage was skipped.
        """
        if stage_index in self._unmade:
            raise CacheMissed(f"stage {stage_index} was skipped, and its records are not cached")
        known = {**dict.fromkeys(self._places), **self._awaited}
        return sorted(partition for index, partition in known if index == stage_index)

    def is_awaited(self, stage_index: int, partition: int) -> bool:
        return (stage_index, partition) in self._awaited

    def place(self, stage_index: int, partition: int) -> OutputLocation | None:
        """Where it lies; None for one without records, or one that is not there."""
        return self._places.get((stage_index, partition))

    def hear(self) -> None:
        """Wait for news."""
        for made in self._listen():
            output = (made.stage_index, made.partition)
            if self._awaited.pop(output, False) is None and made.place is not None:
                self._places[output] = made.place
