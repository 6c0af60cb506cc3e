"""What leaves the history leaves the disk, and nothing else does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

from minispark.client import Client
from tests import jobs
from tests.cluster.foreign_worker import ForeignWorker
from tests.cluster.harness import Cluster, wait_until


def run_job(client: Client, path: Path, plan: str | None = None, op: str = "read_text") -> str:
    info = client.submit(jobs.word_count(str(path), 2, plan, op))
    assert client.wait(info["id"], timeout_s=60)["state"] == "SUCCEEDED"
    job_id: str = info["id"]
    return job_id


def files_of(cluster: Cluster, job_id: str) -> list[str]:
    return [path.name for path in cluster.state_dir.glob(f"{job_id}_*.json")]


def test_files_of_evicted_jobs_are_deleted_while_it_runs_and_when_it_starts(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("a b a\n")
    cluster = make_cluster("retention.jobs_max=3", workers=1)
    with cluster.client() as client:
        made = [run_job(client, tmp_path / "text", "naive") for _ in range(4)]
        wait_until(lambda: files_of(cluster, made[0]) == [], "the evicted job's files are deleted")
        assert all(files_of(cluster, job_id) for job_id in made[1:])
    assert cluster.cli("down").returncode == 0
    forgotten = cluster.state_dir / f"{uuid.uuid4()}_reduce_p0.json"
    forgotten.write_text('{"records": []}')  # its master was killed before it deleted that
    cluster.settings.append("--set=retention.jobs_max=1")
    assert cluster.up().returncode == 0
    with cluster.client() as client:
        assert [job["id"] for job in client.jobs()] == made[3:]
        gone = made[1:3]
        wait_until(lambda: not any(files_of(cluster, job_id) for job_id in gone), "they are gone")
        assert not forgotten.exists()
        assert sorted(client.results(made[3])) == [("a", "2"), ("b", "1")]


def test_results_of_foreign_workers_count_in_the_bound_by_size(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    column = tmp_path / "column.csv"
    column.write_text("text\n" + "a b a\n" * 10)
    cluster = make_cluster("retention.results_max_gb=0.000001", workers=0)
    worker = ForeignWorker(cluster.document()["master_url"], cluster.state_dir)
    worker.start()
    try:
        with cluster.client() as client:
            first = run_job(client, column, "naive", "read_csv")
            assert files_of(cluster, first)  # more than the bound, and yet the last one
            last = run_job(client, column, "naive", "read_csv")
            wait_until(lambda: files_of(cluster, first) == [], "the first job's files are deleted")
            assert [job["id"] for job in client.jobs()] == [last]
            assert sorted(client.results(last)) == [("a", "20"), ("b", "10")]
    finally:
        worker.stop.set()
        worker.join()
