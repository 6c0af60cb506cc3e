"""The baseline of small things, the workers that are only a session, the jobs of many tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench import scaling
from bench.ping_pong import messages_per_s, round_trip_s
from bench.simulated_workers import simulated_workers
from bench.site import Site
from minispark.client import Client
from minispark.cluster import private_cluster
from minispark.model.settings import Config


def test_messages_come_back_one_at_a_time() -> None:
    assert len(round_trip_s(3)) == 3
    assert messages_per_s(0.05) > 0


def test_simulated_workers_do_the_tasks_of_a_real_master(tmp_path: Path) -> None:
    config = Config()
    config = replace(config, workers=replace(config.workers, count=0))
    request = scaling.MasterAlone(Site(tmp_path), tmp_path).request(20)
    with private_cluster(config, str(tmp_path)) as cluster:
        with Client(cluster.master_url, cluster.token) as client:
            port = client.cluster()["socket_port"]
            with simulated_workers(port, cluster.token, count=2, slots=1):
                info = client.wait(client.submit(request)["id"], 10.0)
            assert (info["state"], info["tasks"]["completed"]) == ("SUCCEEDED", 21)
            assert {worker["name"] for worker in client.workers()} == {"simulated-0", "simulated-1"}


def test_many_tasks_are_several_chains_of_one_job(tmp_path: Path) -> None:
    alone = scaling.MasterAlone(Site(tmp_path), tmp_path)
    request = alone.request(2 * scaling.JOB_TASKS)
    reads = [node for node in request["dag"]["nodes"] if node["op"] == "read_text"]
    assert (len(reads), request["parallelism"]) == (2, scaling.JOB_TASKS)


def test_more_tasks_than_fill_whole_chains_are_not_lost(tmp_path: Path) -> None:
    request = scaling.MasterAlone(Site(tmp_path), tmp_path).request(scaling.JOB_TASKS + 1)
    assert 2 * request["parallelism"] >= scaling.JOB_TASKS + 1
