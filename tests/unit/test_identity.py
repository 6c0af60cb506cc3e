"""A worker's id: kept over restarts where it can be written, and in memory in any case."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from minispark.model.ids import NIL_ID
from minispark.worker.identity import WorkerId


def test_an_id_outlives_its_process(tmp_path: Path) -> None:
    given = str(uuid.uuid4())
    first = WorkerId(str(tmp_path), "worker 1")
    assert first.value == NIL_ID
    first.keep(given)
    assert WorkerId(str(tmp_path), "worker 1").value == given


def test_a_torn_file_is_no_id(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "w.id").write_bytes(b"\xff123")
    assert WorkerId(str(tmp_path), "w").value == NIL_ID


def test_f21_an_id_that_cannot_be_written_is_kept_in_memory_and_tried_again(
    tmp_path: Path,
) -> None:
    given = str(uuid.uuid4())
    (tmp_path / "workers").write_text("somebody put a file here")
    here = WorkerId(str(tmp_path), "w")
    with pytest.raises(OSError, match="workers"):
        here.keep(given)
    assert here.value == given
    (tmp_path / "workers").unlink()
    here.keep(given)
    assert WorkerId(str(tmp_path), "w").value == given
