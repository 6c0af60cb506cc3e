"""The commands on a real cluster: what they print, and the JSON that scripts rely on."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from minispark.transport.framing import FRAME_BYTES_MAX, encode_frame
from tests import jobs, oracle
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, Cluster, run_cli, wait_until

WORDS = oracle.word_count(oracle.lines_of([ROOT / "data" / "input.csv"], is_csv=True))


@pytest.fixture(scope="module")
def job(shared_cluster: Cluster) -> str:
    done = shared_cluster.cli("submit", "-n", "words", "-p", "3", "-i", "data/input.csv", "--wait")
    assert done.returncode == 0, done.stderr
    assert "8/8" not in done.stdout  # progress is on stderr
    assert "SUCCEEDED" in done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("ID: ")
    return str(last.removeprefix("ID: "))


def test_ps(shared_cluster: Cluster) -> None:
    document = json.loads(shared_cluster.cli("ps", "--json").stdout)
    assert document["page_url"].startswith(document["master_url"])
    names = [process["name"] for process in document["processes"]]
    assert names == ["supervisor", "master", "worker-1", "worker-2", "worker-3"]
    for process in document["processes"]:
        assert process["state"] == "RUNNING" and process["rss_bytes"] > 0
        assert psutil.pid_exists(process["pid"])
        if process["name"].startswith("worker"):
            assert len(process["executors"]) == 2
            assert set(process["ports"]) == {"data", "metrics"}
        else:
            assert process["executors"] == []
    assert "worker-2" in shared_cluster.cli("ps").stdout


def test_status(shared_cluster: Cluster, job: str) -> None:
    document = json.loads(shared_cluster.cli("status", "words", "--json").stdout)
    assert document["id"] == job
    assert [stage["tasks_completed"] for stage in document["stages"]] == [3, 3]
    assert len(document["attempts"]) == 6
    text = shared_cluster.cli("status", job[:8]).stdout
    assert "[########################]" in text and "SUCCEEDED" in text
    overview = shared_cluster.cli("status").stdout
    assert "worker-3" in overview and "words" in overview


def test_results_in_every_format(shared_cluster: Cluster, job: str, tmp_path: Path) -> None:
    rows = json.loads(shared_cluster.cli("results", "words", "--json").stdout)
    assert sorted((row["key"], row["value"]) for row in rows) == WORDS
    lines = shared_cluster.cli("results", job, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows
    path = tmp_path / "out.csv"
    done = shared_cluster.cli("results", "words", "--format", "csv", "-o", str(path))
    assert done.returncode == 0 and done.stdout == ""
    with path.open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["key", "value"]
    assert sorted(map(tuple, table[1:])) == WORDS
    top = shared_cluster.cli("results", "words", "--top", "2", "--format", "tsv").stdout
    assert top.splitlines()[1:] == ["the\t9", "el\t8"]
    assert len(shared_cluster.cli("results", "words", "--limit", "4").stdout.splitlines()) == 6
    files = json.loads(shared_cluster.cli("results", "words", "--files", "--json").stdout)
    assert [bool(result["output_path"]) for result in files] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("what", ["system", "jobs", "failures", "scheduler"])
def test_metrics(shared_cluster: Cluster, job: str, what: str) -> None:
    assert json.loads(shared_cluster.cli("metrics", what, "--json").stdout)
    assert shared_cluster.cli("metrics", what).returncode == 0


def test_metrics_of_a_job(shared_cluster: Cluster, job: str) -> None:
    metrics = json.loads(shared_cluster.cli("metrics", "job", "words", "--json").stdout)
    assert metrics["completed_tasks"] == 6
    stages = json.loads(shared_cluster.cli("metrics", "stages", "words", "--json").stdout)
    assert [stage["node_id"] for stage in stages] == ["read+flatmap+map", "reduce"]
    assert shared_cluster.cli("metrics", "job").returncode == 2


def test_explain_jobs_logs_doctor_config(shared_cluster: Cluster, job: str) -> None:
    assert shared_cluster.cli("explain", "words").stdout.startswith("fused plan: 2 stages")
    lines = shared_cluster.cli("explain", "words", "--analyze").stdout.splitlines()
    split = next(line for line in lines if line.startswith("flat_map split_words"))
    words = sum(int(count) for _, count in WORDS)
    assert split.split()[3:][0] == str(words) and split.split()[-1] in ("ms", "s")
    merge = next(line for line in lines if line.startswith("merge by key"))
    assert f" {len(WORDS)} " in merge and merge.endswith("0 B")
    refused = shared_cluster.cli("explain", "data/jobs/join.yaml", "--analyze")
    assert refused.returncode == 2 and "submit the file" in refused.stderr
    naive = shared_cluster.cli("explain", "data/jobs/join.yaml", "--plan", "naive").stdout
    assert naive.startswith("naive plan: 5 stages")
    assert job in [j["id"] for j in json.loads(shared_cluster.cli("jobs", "--json").stdout)]
    logs = shared_cluster.cli("logs", "-n", "1000").stdout
    assert f"job SUCCEEDED job={job}" in logs and "worker-1" in logs
    assert shared_cluster.cli("logs", "nobody").returncode == 1
    doctor = shared_cluster.cli("doctor")
    assert doctor.returncode == 0, doctor.stdout
    config = json.loads(shared_cluster.cli("config", "--json", "--set", "workers.count=9").stdout)
    assert config["config"]["workers"]["count"] == 9
    assert config["origins"]["workers.count"] == "--set"


@pytest.mark.parametrize("words", [("status", "--watch"), ("logs", "-f")])
def test_streams_are_one_json_document_per_line(
    shared_cluster: Cluster,
    start_cli: Callable[..., subprocess.Popen[str]],
    words: tuple[str, ...],
) -> None:
    process = start_cli(shared_cluster, *words, "--json")
    assert process.stdout is not None
    for _ in range(2):
        assert isinstance(json.loads(process.stdout.readline()), dict)
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (143, "")


def test_a_watched_job_is_drawn_until_it_ends(shared_cluster: Cluster) -> None:
    done = shared_cluster.cli("submit", "-i", "data/input.csv", "--json")
    job_id = json.loads(done.stdout)["id"]
    watched = shared_cluster.cli("status", job_id, "--watch", "--json")
    assert watched.returncode == 0, watched.stderr
    states = [json.loads(line)["state"] for line in watched.stdout.splitlines()]
    assert states[-1] == "SUCCEEDED"
    assert "SUCCEEDED" not in states[:-1]


def test_submit_join_and_a_job_file(shared_cluster: Cluster) -> None:
    done = shared_cluster.cli("submit-join", "--wait", "--plan", "naive")
    assert done.returncode == 0, done.stderr
    rows = json.loads(shared_cluster.cli("results", "join-job", "--json").stdout)
    expected = oracle.join(ROOT / "data" / "sales.csv", ROOT / "data" / "products.csv")
    assert sorted((row["key"], row["value"]) for row in rows) == expected
    done = shared_cluster.cli("submit", "data/jobs/wordcount.json", "--json", "-n", "mine")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["request"]["name"] == "mine"


def test_bad_jobs_exit_with_2_and_name_the_field(shared_cluster: Cluster, tmp_path: Path) -> None:
    bad = jobs.word_count("data/input.csv", 2)
    bad["dag"]["nodes"][1]["fn_name"] = "split_wrods"
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(bad))
    done = shared_cluster.cli("submit", str(path))
    assert done.returncode == 2
    assert "dag.nodes[1].fn" in done.stderr and "split_words" in done.stderr
    assert shared_cluster.cli("submit", "-p", "0").returncode == 2
    assert shared_cluster.cli("status", "no-such-job").returncode == 1


def test_run_needs_no_cluster_and_leaves_nothing(tmp_path: Path) -> None:
    def leftovers() -> set[str]:
        return {path.name for path in tmp_path.iterdir()}

    done = run_cli(
        "run", "wordcount", "data/input.csv", "--format", "json", env={"TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert sorted((row["key"], row["value"]) for row in rows) == WORDS
    assert leftovers() == set()
    done = run_cli("run", "join", "data/sales.csv", "data/products.csv", "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 20
    done = run_cli("run", "data/jobs/wordcount.json", "--plan", "naive", "--top", "1")
    assert done.returncode == 0 and "the" in done.stdout


def test_a_missing_package_is_named_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(ROOT / "minispark.py"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pip install" in done.stderr and "psutil" in done.stderr


def test_help_and_status_load_little() -> None:
    code = (
        "import sys; from minispark.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'yaml', 'psutil', 'sqlite3', 'multiprocessing', 'minispark.master.main'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    impatient = "import minispark.client; minispark.client.FIRST_GAP_S = 0.0\n"
    for before, words in (("", ["--help"]), (impatient, ["status", "-m", "http://127.0.0.1:1"])):
        done = subprocess.run(
            [sys.executable, "-c", before + code, *words],
            cwd=ROOT,
            env=PLAIN_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "LOADED []" in done.stdout, done.stdout + done.stderr


def test_f50_the_master_serves_others_while_peers_misbehave(shared_cluster: Cluster) -> None:
    ports = shared_cluster.process("master")["ports"]
    data_port = shared_cluster.process("worker-1")["ports"]["data"]
    bad = [
        b"GET / HTTP/1.1\r\n\r\n",
        (FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
        encode_frame(b'{"type": []}'),
        encode_frame(
            b'{"type": "hello", "protocol": 1, "version": "0.1.0", "python": "3", '
            b'"nonce": "\\ud800"}'
        ),
        encode_frame(b"\xff" * 100),
    ]
    silent = [socket.create_connection(("127.0.0.1", ports["socket"])) for _ in range(5)]
    try:
        for data in bad:
            for port in (ports["socket"], data_port):
                with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                    sock.sendall(data)
                    answer = b"".join(iter(lambda sock=sock: sock.recv(65536), b""))
                    assert b"refused" in answer
        done = shared_cluster.cli("submit", "-i", "data/input.csv", "--wait")
        assert done.returncode == 0, done.stderr
    finally:
        for sock in silent:
            sock.close()


def test_the_master_says_what_it_found(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(workers=1)
    log = cluster.state_dir / "logs" / "master.log"
    assert "found nothing of an earlier master" in log.read_text()
    assert cluster.cli("submit", "-i", "data/input.csv", "--wait").returncode == 0
    with cluster.client() as client:
        finished = client.jobs()[0]
    assert cluster.cli("down").returncode == 0
    (cluster.state_dir / "state" / "jobs.json").write_text('{"jobs": {')
    assert cluster.up().returncode == 0
    wait_until(lambda: "found 1 jobs, 0 unfinished" in log.read_text(), "what it found")
    assert "jobs.json is corrupt" in log.read_text()
    with cluster.client() as client:
        again = client.jobs()[0]
        assert {**again, "retries": 0} == {**finished, "retries": 0}
        assert sorted(client.results(again["id"])) == WORDS
    assert cluster.cli("down").returncode == 0
    database = cluster.state_dir / "state" / "minispark.db"
    database.write_bytes(b"this is no database" * 1000)
    assert cluster.up().returncode == 0
    wait_until(lambda: "minispark.db is damaged" in log.read_text(), "what it found")
    with cluster.client() as client:
        assert client.jobs() == []
    assert list(database.parent.glob("minispark.db.corrupt-*"))


def test_an_unfinished_job_is_listed_and_runs_again(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"word{i % 5000} again\n" for i in range(300_000)))
    cluster = make_cluster(workers=1, threads=1)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 16, "naive"))
        wait_until(lambda: client.job(info["id"])["tasks"]["completed"] > 2, "it runs")
    assert cluster.cli("down").returncode == 0
    assert cluster.up().returncode == 0
    log = cluster.state_dir / "logs" / "master.log"
    assert f"1 unfinished: wordcount ({info['id']})" in log.read_text()
    with cluster.client() as client:
        assert client.wait(info["id"], timeout_s=60)["state"] == "SUCCEEDED"
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
