"""F54: who may reach a cluster, and drive it."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster, run_cli


@pytest.mark.parametrize("token", ["", "short"])
def test_f54_no_cluster_on_the_network_without_a_good_token(token: str) -> None:
    cluster = Cluster("master.host=0.0.0.0", f"security.token={token}", workers=0)
    try:
        done = cluster.up()
        assert done.returncode == 2, done.stderr
        assert "security.token" in done.stderr
        assert not (cluster.state_dir / "cluster.json").exists()
    finally:
        cluster.close()


@pytest.mark.parametrize("token", ["", "short"])
def test_f54_no_master_on_the_network_without_a_good_token(tmp_path: Path, token: str) -> None:
    env = {"MASTER_HTTP_PORT": "0", "MASTER_SOCKET_PORT": "0", "MASTER_HOST": "0.0.0.0"}
    env |= {"MINISPARK_STATE_DIR": str(tmp_path / "state"), "MINISPARK_TOKEN": token}
    done = run_cli("master", env=env)
    assert done.returncode == 2, done.stderr
    assert "security.token" in done.stderr


def test_localhost_is_loopback_for_every_process(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster("master.host=localhost", workers=1)
    url = cluster.document()["master_url"]
    metrics = f"http://localhost:{cluster.process('worker-1')['ports']['metrics']}/metrics"
    for open_to_all in (f"{url}/api/v1/jobs", metrics):
        with urllib.request.urlopen(open_to_all, timeout=10) as answer:
            assert answer.status == 200
