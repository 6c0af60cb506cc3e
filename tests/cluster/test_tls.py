"""A cluster whose every port speaks TLS, with certificates of the `certs` command: right answers,
faults, and errors with names.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minispark.client import Client
from tests import jobs, oracle
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, Cluster, run_cli, wait_until
from tests.cluster.other_host import VIEWS, far_worker

NAMES = ("cert", "key", "ca")
Files = dict[str, str]


def make_files(folder: Path, *hosts: str) -> Files:
    words = [word for host in hosts for word in ("--host", host)]
    done = run_cli("certs", str(folder), *words)
    assert done.returncode == 0, done.stderr
    return {name: str(folder / f"{name}.pem") for name in NAMES}


def settings_of(files: Files) -> list[str]:
    return [f"security.tls.{name}={path}" for name, path in files.items()]


def variables_of(files: Files) -> dict[str, str]:
    return {f"MINISPARK_TLS_{name.upper()}": path for name, path in files.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("ours") / "certs", "localhost")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Of another CA."""
    return make_files(tmp_path_factory.mktemp("others") / "certs", "localhost")


@pytest.fixture(scope="module")
def secure(files: Files) -> Iterator[Cluster]:
    """One cluster for the tests that break nothing. Blocks and results cross the sockets."""
    cluster = Cluster("workers.short_circuit=false", *settings_of(files))
    try:
        done = cluster.up()
        assert done.returncode == 0, done.stderr + cluster.logs()
        yield cluster
    finally:
        print(cluster.logs())
        assert cluster.close() == []


@pytest.fixture
def run_worker(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `worker` on a port and in a directory of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(
        cluster: Cluster, state_dir: Path | None = None, address: str | None = None, **env: str
    ) -> Any:
        token_file = str(cluster.state_dir / "token")
        port = cluster.process("master")["ports"]["socket"]
        words = ["worker", "--master", address or f"127.0.0.1:{port}", "--name", "lone"]
        words += ["--token-file", token_file, "--set", "workers.base_port=0"]
        words += ["--state-dir", str(state_dir or tmp_path)]
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "minispark.py"), *words],
            env={**PLAIN_ENVIRONMENT, **env}, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "text.txt"
    with path.open("w") as file:
        for i in range(100_000):
            file.write(f"line {i % 50_000} the quick brown fox number {i % 977} jumps over\n")
    return path


def finished(client: Client, job_id: str) -> dict[str, Any]:
    info = client.wait(job_id, timeout_s=120)
    assert info["state"] == "SUCCEEDED", info["status"]
    return info


# --- right answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["fused", "naive"])
def test_a_word_count_over_tls_equals_the_oracle(secure: Cluster, text: Path, plan: str) -> None:
    with secure.client() as client:
        info = finished(client, client.submit(jobs.word_count(str(text), 6, plan))["id"])
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected


@pytest.mark.parametrize("plan", ["fused", "naive"])
def test_a_join_over_tls_equals_the_oracle(secure: Cluster, tmp_path: Path, plan: str) -> None:
    sales, products = tmp_path / "sales.csv", tmp_path / "products.csv"
    sales.write_text("id,n\n" + "".join(f"p{i % 500},{i}\n" for i in range(20_000)))
    products.write_text("id,name\n" + "".join(f"p{i},name {i}\n" for i in range(400)))
    request = jobs.join(str(sales), str(products), 4, plan)
    if plan == "fused":
        request["dag"]["nodes"][4]["partitions"] = 5  # shuffles both sides
    with secure.client() as client:
        info = finished(client, client.submit(request)["id"])
        assert sorted(client.results(info["id"])) == oracle.join(sales, products)


def test_the_command_line_finds_the_ca_in_the_state_directory(
    secure: Cluster, files: Files
) -> None:
    document = secure.document()
    assert document["master_url"].startswith("https://") and document["tls"] == files
    done = secure.cli("submit", "-i", "data/input.csv", "--wait")
    assert done.returncode == 0, done.stderr
    assert secure.cli("results", "last", "--format", "tsv").stdout.startswith("key\tvalue\n")
    assert "Up" in secure.cli("status").stdout
    assert secure.cli("trace", "last", "-o", os.devnull).returncode == 0
    # and by its address, where only the CA is known
    env = {"MINISPARK_TLS_CA": files["ca"], "MINISPARK_TOKEN_FILE": document["token_file"]}
    done = run_cli("jobs", "-m", document["master_url"], env=env)
    assert done.returncode == 0 and "wordcount" in done.stdout, done.stderr


def test_a_workers_metrics_are_served_over_tls(secure: Cluster, files: Files) -> None:
    context = ssl.create_default_context(cafile=files["ca"])
    with secure.client() as client:
        urls = [worker["metrics_url"] for worker in client.workers()]
    assert len(urls) == 3
    for url in urls:
        assert url.startswith("https://")
        with urllib.request.urlopen(url, timeout=30, context=context) as answer:
            assert answer.status == 200


def test_a_worker_of_another_host_reads_through_the_master_and_its_results_are_fetched(
    make_cluster: Callable[..., Cluster], files: Files, text: Path, tmp_path: Path
) -> None:
    cluster = make_cluster(*settings_of(files), workers=0)
    with far_worker(cluster, VIEWS[0], text.parent, tmp_path, **variables_of(files)):
        with cluster.client() as client:
            info = finished(client, client.submit(jobs.word_count(str(text), 4))["id"])
            expected = oracle.word_count(oracle.lines_of([text]))
            assert sorted(client.results(info["id"])) == expected


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["worker", "master"])
def test_f10_f30_a_kill_during_a_job_over_tls_costs_no_result(
    make_cluster: Callable[..., Cluster], files: Files, text: Path, victim: str
) -> None:
    cluster = make_cluster("workers.short_circuit=false", *settings_of(files))
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 12))

        def running() -> list[str]:
            tasks = client.tasks(info["id"], limit=1000, state="ASSIGNED")["tasks"]
            return [task["worker"] for task in tasks if task["worker"]]

        name = wait_until(running, "something runs")[0] if victim == "worker" else "master"
        cluster.note_processes()
        os.kill(cluster.process(name)["pid"], signal.SIGKILL)
        finished(client, info["id"])
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
        wait_until(
            lambda: sum(w["status"] == "Up" for w in client.workers()) == 3, "all workers are Up"
        )
    cluster.note_processes()


def test_f50_strangers_at_every_port_hold_nobody_up(secure: Cluster, text: Path) -> None:
    socks = []
    try:
        for process in secure.document()["processes"]:
            for port in process["ports"].values():
                for said in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
                    for _ in range(10):
                        socks.append(socket.create_connection(("127.0.0.1", port), timeout=30))
                        socks[-1].sendall(said)
        with secure.client() as client:
            info = finished(client, client.submit(jobs.word_count(str(text), 6))["id"])
            assert len(list(client.results(info["id"]))) == len(
                oracle.word_count(oracle.lines_of([text]))
            )
    finally:
        for sock in socks:
            sock.close()
    assert [p["restarts"] for p in secure.document()["processes"]] == [0] * 5


# --- errors have names ---------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["another CA", "another name", "plain http"])
def test_a_client_that_is_wrong_is_told_how(
    secure: Cluster, files: Files, others: Files, which: str
) -> None:
    url = secure.document()["master_url"]
    ca, address, words = {
        "another CA": (others["ca"], url, "is not valid here: unable to get local issuer"),
        # which is this host, too
        "another name": (files["ca"], url.replace("127.0.0.1", "127.1"), "Hostname mismatch"),
        "plain http": (files["ca"], url.replace("https", "http"), "this port speaks TLS only"),
    }[which]
    env = {"MINISPARK_TLS_CA": ca, "MINISPARK_TOKEN": "t" * 16}
    done = run_cli("jobs", "-m", address, env=env)
    assert (done.returncode, done.stdout) == (3, "")
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_client_without_a_ca_is_told_where_it_comes_from(secure: Cluster) -> None:
    done = run_cli("jobs", "-m", secure.document()["master_url"], env={"MINISPARK_TOKEN": "t" * 16})
    assert done.returncode == 2 and "MINISPARK_TLS_CA" in done.stderr


def test_a_tls_client_of_a_plain_cluster_is_told_so(shared_cluster: Cluster, files: Files) -> None:
    url = shared_cluster.document()["master_url"].replace("http:", "https:")
    env = {"MINISPARK_TLS_CA": files["ca"], "MINISPARK_TOKEN": "t" * 16}
    done = run_cli("jobs", "-m", url, env=env)
    assert done.returncode == 3 and "does not speak TLS" in done.stderr


@pytest.mark.parametrize("which", ["another CA", "plain", "TLS at a plain master"])
def test_a_worker_that_is_wrong_ends_and_says_how(
    secure: Cluster,
    shared_cluster: Cluster,
    others: Files,
    run_worker: Callable[..., subprocess.Popen[str]],
    which: str,
) -> None:
    cluster, env, words = {
        "another CA": (secure, variables_of(others), "certificate of the master at 127.0.0.1"),
        "plain": (secure, {}, "this port speaks TLS only"),
        "TLS at a plain master": (shared_cluster, variables_of(others), "does not speak TLS"),
    }[which]
    process = run_worker(cluster, **env)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and words in said
    with cluster.client() as client:
        assert "lone" not in [worker["name"] for worker in client.workers()]


@pytest.mark.parametrize("how", ["variables", "an address of https", "the state directory"])
def test_a_worker_by_hand_comes_in(
    secure: Cluster,
    files: Files,
    run_worker: Callable[..., subprocess.Popen[str]],
    how: str,
) -> None:
    if how == "variables":
        process = run_worker(secure, **variables_of(files))
    elif how == "an address of https":
        url = secure.document()["master_url"]
        process = run_worker(secure, address=url, **variables_of(files))
    else:
        process = run_worker(secure, secure.state_dir)

    def is_up() -> bool:
        with secure.client() as client:
            return (process.pid, "Up") in [(w["pid"], w["status"]) for w in client.workers()]

    wait_until(is_up, "it is Up")


def test_up_names_a_file_that_it_cannot_use(files: Files, tmp_path: Path) -> None:
    words = [f"--set={setting}" for setting in settings_of({**files, "key": files["ca"]})]
    done = run_cli("--state-dir", str(tmp_path / "s"), "up", "-d", *words)
    assert done.returncode == 2
    assert f"security.tls.key {files['ca']}" in done.stderr and "PEM" in done.stderr
    words = [f"--set=security.tls.cert={files['cert']}"]
    done = run_cli("--state-dir", str(tmp_path / "s"), "up", "-d", *words)
    assert done.returncode == 2 and "security.tls.key and security.tls.ca must" in done.stderr


def test_doctor_says_whether_the_files_are_good(files: Files, tmp_path: Path) -> None:
    for change, is_good in (({}, True), ({"ca": "/no/ca.pem"}, False)):
        words = [f"--set={setting}" for setting in settings_of({**files, **change})]
        done = run_cli("--state-dir", str(tmp_path / "s"), "doctor", "--json", *words)
        (check,) = [c for c in json.loads(done.stdout) if c["check"] == "tls"]
        assert check["ok"] is is_good
        assert ("/no/ca.pem" in check["message"]) is not is_good
