"""`story`, `status JOB` and `replay` of jobs on real processes, also after these ended."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from minispark.cli.journal import open_disk_journal
from minispark.compute.documented import read_texts
from minispark.master.job_codec import load_plan
from minispark.model.file_names import partition_file
from minispark.model.plan import PartitionFile
from minispark.worker.replay import Replay, Settings
from tests import jobs
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, Cluster, run_cli, wait_until

CODE = """
import os
def parse(line):
    word, number, folder = line.split()
    if word == "gate":
        while not os.path.exists(folder + "/open"):
            pass
    if word == "flaky" and not os.path.exists(folder + "/flaky"):
        open(folder + "/flaky", "x").close()
        raise RuntimeError("only the first time")
    print("parsed", word)
    return word, int(number)
def add(a, b):
    return a + b
"""
MAP = "read+parse"


def request(folder: Path, name: str, lines: list[str], tasks: int = 3) -> dict[str, Any]:
    text = folder / f"{name}.txt"
    whole = [f"{line} {folder}" for line in lines]
    length = max(map(len, whole))
    text.write_text("".join(f"{line:<{length}}\n" for line in whole))  # equal splits
    return jobs.job(
        [
            {"id": "read", "op": "read_text", "path": str(text)},
            {"id": "parse", "op": "map", "fn": "mine:parse"},
            {"id": "sum", "op": "reduce_by_key", "fn": "mine:add"},
        ],
        tasks,
        name=name,
        modules={"mine": CODE},
    )


@dataclass(frozen=True)
class Story:
    """Two jobs of one cluster: one failed once, one failed for a record."""

    cluster: Cluster
    folder: Path
    good: str
    bad: str


@pytest.fixture(scope="module")
def told(shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("told")
    good = ["one 1", "two 2", "flaky 3", "one 4", "one 5", "two 6"]
    with shared_cluster.client() as client:
        ids = []
        for name, lines, state in (
            ("good", good, "SUCCEEDED"),
            ("bad", ["one 1", "two 2", "two 3", "two x"], "FAILED"),
        ):
            info = client.submit(request(folder, name, lines, 3 if name == "good" else 2))
            assert client.wait(info["id"], 60)["state"] == state
            ids.append(info["id"])
    return Story(shared_cluster, folder, *ids)


# --- story -------------------------------------------------------------------------------------


def test_story_of_a_task_that_failed_once(told: Story) -> None:
    done = told.cluster.cli("story", f"good/{MAP}/1")
    assert done.returncode == 0, done.stderr
    assert "retry 1 of 3 follows, after 0.05 s" in done.stdout
    assert "RuntimeError: only the first time" in done.stdout
    assert 'raise RuntimeError("only the first time")' in done.stdout  # the whole error
    assert f"{MAP}/1 SUCCEEDED with attempt 1" in done.stdout.splitlines()[-1]
    assert f"`replay {told.good[:8]}/{MAP}/1 --pdb`" in done.stderr
    document = json.loads(told.cluster.cli("story", f"{told.good}/{MAP}/1", "--json").stdout)
    kinds = [event["kind"].split()[1] for event in document["events"]]
    assert kinds[0] == "ASSIGNED" and kinds[-1] == "SUCCEEDED" and kinds.count("FAILED") == 1
    since = [event["since_submission_s"] for event in document["events"]]
    assert since == sorted(since) and since[0] >= 0
    with told.cluster.client() as client:
        failed = list(client.attempts(told.good, "FAILED"))
    named = json.loads(told.cluster.cli("story", failed[0]["id"][:12], "--json").stdout)
    assert named == document


def test_story_of_a_task_that_failed_its_job(told: Story) -> None:
    out = told.cluster.cli("story", f"bad/{MAP}/1").stdout
    assert "no retry is left of 3" in out and "invalid literal for int()" in out
    assert f"{MAP}/1 FAILED, and its job with it" in out.splitlines()[-1]
    other = told.cluster.cli("story", "bad/sum/0")
    assert "sum/0 was not finished, because its job FAILED" in other.stdout.splitlines()[-1]
    assert other.stderr == ""


@pytest.mark.parametrize(
    ("command", "task", "code", "says"),
    [
        ("story", "good", 2, "JOB/STAGE/PARTITION"),
        ("story", "good/summ/0", 1, "did you mean sum?"),
        ("replay", "good/sum/9", 1, "the partitions 0 to 2"),
        ("replay", "nobody/sum/0", 1, "no job 'nobody'"),
    ],
)
def test_a_task_that_is_none(told: Story, command: str, task: str, code: int, says: str) -> None:
    done = told.cluster.cli(command, task)
    assert (done.returncode, done.stdout) == (code, "") and says in done.stderr


# --- status ------------------------------------------------------------------------------------


def test_status_says_why_tasks_were_tried_again(told: Story) -> None:
    out = told.cluster.cli("status", "good").stdout
    assert f"  {MAP}/1\n" in out and "only the first time; retry 1 of 3 follows" in out
    assert "attempt 1 SUCCEEDED on worker-" in out
    document = json.loads(told.cluster.cli("status", "bad", "--json").stdout)
    (lines,) = document["retried"]["tasks"].values()
    assert len(lines) == 4 and lines[-1].endswith("no retry is left of 3")


def test_a_failure_far_behind_the_first_attempts_is_not_missed(
    shared_cluster: Cluster, tmp_path: Path
) -> None:
    lines = [f"word{n} {n}" for n in range(149)] + ["flaky 1"]
    with shared_cluster.client() as client:
        info = client.submit(request(tmp_path, "long", lines, 150))
        assert client.wait(info["id"], 60)["state"] == "SUCCEEDED"
    document = json.loads(shared_cluster.cli("status", "long", "--json").stdout)
    assert [a["state"] for a in document["attempts"]] == ["SUCCEEDED"] * 100
    assert list(document["retried"]["tasks"]) == [f"{MAP}/149"]


def test_status_says_what_a_job_waits_for(shared_cluster: Cluster, tmp_path: Path) -> None:
    """Six slots: one job has four of them until the gate opens, another one wants more."""
    with shared_cluster.client() as client:
        first = client.submit(request(tmp_path, "holds", ["gate 1"] * 12, 12))
        wait_until(lambda: client.job(first["id"])["tasks"]["running"] >= 6, "it has all slots")
        second = client.submit(request(tmp_path, "wants", ["gate 1"] * 24, 24))
        waits = json.loads(shared_cluster.cli("status", second["id"], "--json").stdout)["waits"]
        out = shared_cluster.cli("status", second["id"]).stdout
        (tmp_path / "open").touch()
        for job in (first, second):
            assert client.wait(job["id"], 60)["state"] == "SUCCEEDED"
        after = json.loads(shared_cluster.cli("status", "wants", "--json").stdout)["waits"]
    assert f"sum waits for {MAP} (0 of 24 tasks are done)" in waits
    (slots,) = [line for line in waits if line.startswith(f"{MAP}: ")]
    assert "for a slot (6 slots; tasks at workers: " in slots
    assert f"of holds ({first['id'][:8]})" in slots
    assert "Why it waits:" in out and slots in out
    assert after == []


# --- replay ------------------------------------------------------------------------------------


def test_replay_of_a_reduce_after_its_job(told: Story) -> None:
    with told.cluster.client() as client:
        partition = next(
            a["partition_id"]
            for a in client.attempts(told.good, "SUCCEEDED")
            if a["node_id"] == "sum" and a["records_processed"]
        )
        whole = dict(client.results(told.good))
    done = told.cluster.cli("replay", f"good/sum/{partition}", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["state"] == "SUCCEEDED" and document["changed_inputs"] == []
    assert document["records"] == len(document["head"]) > 0
    assert {row["key"]: row["value"] for row in document["head"]}.items() <= whole.items()
    assert {"fetch", "write"} & document["phases_ms"].keys()
    out = told.cluster.cli("replay", f"good/sum/{partition}").stdout
    assert f"sum/{partition} SUCCEEDED: " in out and "time: " in out
    assert "parsed" not in out  # what its input's functions print


def test_replay_of_a_map_shows_its_prints_and_its_output(told: Story) -> None:
    done = told.cluster.cli("replay", f"good/{MAP}/0", "--head", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("parsed one\nparsed two\n")
    assert "for partition" in done.stdout and "(1 record more)" in done.stdout


def test_replay_of_a_task_that_fails(told: Story) -> None:
    done = told.cluster.cli("replay", f"bad/{MAP}/1")
    assert done.returncode == 1
    assert done.stdout == "parsed two\n" * 2
    assert "mine.py, line 12, in parse: ValueError: invalid literal" in done.stderr
    assert "the record: 'two x" in done.stderr and 'File "/' not in done.stderr
    document = json.loads(told.cluster.cli("replay", f"bad/{MAP}/1", "--json").stdout)
    assert document["state"] == "FAILED" and "the record" in document["error"]
    needs_it = told.cluster.cli("replay", "bad/sum/0")
    assert needs_it.returncode == 1
    assert f"{MAP}/1, whose output it reads, fails here: mine.py" in needs_it.stderr


def test_the_debugger_stops_where_the_function_failed(told: Story) -> None:
    done = debugged(told.cluster, f"bad/{MAP}/1", "p word, number\nup\nq\n")
    assert done.returncode == 1
    assert "('two', 'x')" in done.stdout
    assert "-> return word, int(number)" in done.stdout  # the source is the job's
    assert "Oldest frame" in done.stdout  # only the user's own frames


def test_the_debugger_stops_in_a_function_that_runs_inside_a_loop_of_ours(
    shared_cluster: Cluster, tmp_path: Path
) -> None:
    """One that is written into the loop on a worker has no frame to look at there."""
    asked = request(tmp_path, "inlined", ["one 1", "two x"], 1)
    asked["modules"]["mine"] = (
        "def parse(line):\n    number = line.split()[1]\n    return line, int(number)\n"
        "def add(a, b):\n    return a + b\n"
    )
    with shared_cluster.client() as client:
        assert client.wait(client.submit(asked)["id"], 60)["state"] == "FAILED"
    done = debugged(shared_cluster, f"inlined/{MAP}/0", "p number * 3\nq\n")
    assert done.returncode == 1 and "'xxx'" in done.stdout


def test_the_debugger_stops_at_a_breakpoint(shared_cluster: Cluster, tmp_path: Path) -> None:
    asked = request(tmp_path, "stops", ["one 1", "two 2"], 1)
    asked["modules"]["mine"] = "def parse(line):\n    word, *_ = line.split()\n    breakpoint()\n"
    asked["modules"]["mine"] += "    return word, 1\ndef add(a, b):\n    return a + b\n"
    with shared_cluster.client() as client:
        assert client.wait(client.submit(asked)["id"], 60)["state"] == "FAILED"  # nobody is there
    task = f"stops/{MAP}/0"
    done = debugged(shared_cluster, task, "p word\nc\np word\nc\n")
    assert done.returncode == 0, done.stderr
    assert "'one'" in done.stdout and "'two'" in done.stdout
    assert f"{MAP}/0 SUCCEEDED: 2 records" in done.stdout
    assert debugged(shared_cluster, task, "q\n").returncode == 1
    passed = shared_cluster.cli("replay", task)
    assert passed.returncode == 0
    assert "mine.py, line 3: breakpoint() is passed over; --pdb stops there" in passed.stderr
    quiet = shared_cluster.cli("replay", "stops/sum/0", "-q")  # its input's breakpoint
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_the_debugger_on_a_terminal(told: Story) -> None:
    ours, theirs = pty.openpty()
    words = ["replay", f"bad/{MAP}/1", "--pdb", "--state-dir", str(told.cluster.state_dir)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "minispark.py"), *words],
        stdin=theirs, stdout=theirs, stderr=theirs, env=PLAIN_ENVIRONMENT, cwd=told.folder,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        for answer in (b"p number * 3\n", b"q\n"):
            while not seen.endswith(b"(Pdb) "):
                seen += os.read(ours, 4096)
            os.write(ours, answer)
            seen += os.read(ours, 1)
        while True:
            seen += os.read(ours, 4096)
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(ours)
        if process.poll() is None:
            process.wait(20)
    assert process.returncode == 1 and b"'xxx'" in seen


def test_replay_says_that_an_input_changed(shared_cluster: Cluster, tmp_path: Path) -> None:
    asked = request(tmp_path, "changes", ["one 1", "two 2"], 1)
    with shared_cluster.client() as client:
        assert client.wait(client.submit(asked)["id"], 60)["state"] == "SUCCEEDED"
    path, task = tmp_path / "changes.txt", f"changes/{MAP}/0"
    assert "changed" not in shared_cluster.cli("replay", task).stderr
    path.write_text(path.read_text().replace("one 1", "one 7"))
    assert "was written after the job was submitted" in shared_cluster.cli("replay", task).stderr
    path.write_text("one 1 x\n")
    assert "changes.txt has 8 bytes now, and had" in shared_cluster.cli("replay", task).stderr
    path.unlink()
    gone = shared_cluster.cli("replay", task)
    assert gone.returncode == 1 and "cannot be read any more" in gone.stderr


def debugged(cluster: Cluster, task: str, commands: str) -> Any:
    words = ["replay", task, "--pdb", "--state-dir", str(cluster.state_dir)]
    return subprocess.run(
        [sys.executable, str(ROOT / "minispark.py"), *words],
        input=commands, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        env=PLAIN_ENVIRONMENT,
    )  # fmt: skip


# --- every kind of task --------------------------------------------------------------------------


def many_operators(folder: Path, plan: str) -> dict[str, Any]:
    text = folder / "text.txt"
    text.write_text("".join(f"w{i % 300:03} w{i * 7 % 200:03} x\n" for i in range(3000)))
    nodes = [
        {"id": "read", "op": "read_text", "path": str(text)},
        {"id": "words", "op": "flat_map", "fn": "split_words"},
        {"id": "pairs", "op": "map", "fn": "own:pair", "cache": True},
        {"id": "counts", "op": "reduce_by_key", "fn": "own:add"},
        {"id": "once", "op": "distinct"},
        {"id": "both", "op": "left_outer_join", "join_with": "once"},
        {"id": "more", "op": "union"},
        {"id": "some", "op": "sample", "fraction": 0.5, "seed": 3},
        {"id": "order", "op": "sort_by_key"},
        {"id": "first", "op": "take", "n": 20},
        {"id": "csv", "op": "write_csv", "path": str(folder / f"csv-{plan}")},
    ]
    edges = [["read", "words"], ["words", "pairs"], ["pairs", "counts"], ["pairs", "once"]]
    edges += [["counts", "both"], ["both", "more"], ["counts", "more"], ["more", "some"]]
    edges += [["some", "order"], ["order", "first"], ["once", "both"], ["order", "csv"]]
    modules = {"own": "def pair(word):\n    return word, 1\ndef add(a, b):\n    return a + b\n"}
    edges.remove(["once", "both"])
    return jobs.job(nodes, 4, plan, edges=edges, modules=modules, name=f"many-{plan}")


@pytest.mark.parametrize("plan", ["fused", "naive"])
def test_every_final_task_that_is_replayed_writes_what_it_wrote(
    shared_cluster: Cluster, tmp_path: Path, plan: str
) -> None:
    with shared_cluster.client() as client:
        info = client.submit(many_operators(tmp_path, plan))
        info = client.wait(info["id"], 60)
        assert info["state"] == "SUCCEEDED", info["status"]
    with open_disk_journal(shared_cluster.state_dir) as journal:
        row = journal.row(info["id"])
    assert row.plan is not None
    made = load_plan(row.plan)
    published = file_hashes(tmp_path)
    compared = 0
    for stage in (stage for stage in made.stages if stage.is_final):
        sink = stage.program.sink
        assert isinstance(sink, PartitionFile)
        for partition in range(stage.partitions):
            folder = tmp_path / "replays" / f"{stage.index}-{partition}"
            folder.mkdir(parents=True)
            replay = Replay(info["id"], made, Settings(folder, task_max_mb=256))
            for place in replay.needed((stage.index, partition)):
                replay.run_quietly(place)
            with replay.modules_of((stage.index, partition)):
                outcome = replay.run((stage.index, partition))
            again = [(key, text) for _, key, text in replay.head((stage.index, partition), 10**6)]
            name = partition_file(info["id"], sink.node_id, partition)
            wrote = list(read_texts(iter([(shared_cluster.state_dir / name).read_bytes()])))
            assert again == wrote and outcome.records == len(wrote)
            compared += len(wrote)
    assert compared > 20
    assert {name: published[name] for name in published} == {
        name: digest for name, digest in file_hashes(tmp_path).items() if name in published
    }


def test_a_task_that_was_skipped_can_be_replayed_all_the_same(
    shared_cluster: Cluster, tmp_path: Path
) -> None:
    asked = request(tmp_path, "warm", ["one 1", "two 2"], 2)
    asked["dag"]["nodes"][-1]["cache"] = True
    with shared_cluster.client() as client:
        for _ in range(2):
            info = client.submit(asked)
            assert client.wait(info["id"], 60)["state"] == "SUCCEEDED"
        skipped = [s["node_id"] for s in client.stages(info["id"]) if s["tasks_skipped"]]
    assert skipped == [MAP]
    story = shared_cluster.cli("story", f"last/{MAP}/1")
    assert story.returncode == 0 and f"{MAP}/1 was skipped" in story.stdout
    total = 0
    for partition in range(2):
        done = shared_cluster.cli("replay", f"last/sum/{partition}", "--json")
        assert done.returncode == 0, done.stderr
        total += json.loads(done.stdout)["records"]
    assert total == 2
    assert shared_cluster.cli("replay", f"last/{MAP}/1").stdout.startswith("parsed two\n")


# --- after the cluster ---------------------------------------------------------------------------


@pytest.fixture
def ended(make_cluster: Callable[..., Cluster], tmp_path: Path) -> Iterator[Cluster]:
    cluster = make_cluster(workers=2)
    with cluster.client() as client:
        for lines in (["one 1", "two 2", "flaky 3", "one 4"], ["one 1", "two x"]):
            info = client.submit(request(tmp_path, "gone", lines, 2))
            client.wait(info["id"], 60)
    yield cluster


def file_hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_ended_cluster_tells_and_replays_and_nothing_of_it_changes(ended: Cluster) -> None:
    live = ended.cli("story", f"gone/{MAP}/1").stdout
    assert ended.cli("down").returncode == 0
    before = file_hashes(ended.state_dir)
    story = ended.cli("story", f"gone/{MAP}/1")
    assert story.returncode == 0, story.stderr
    assert story.stdout.splitlines()[0] == live.splitlines()[0]
    assert story.stdout.count("+0.") == live.count("+0.") > 4  # the same events
    assert "failure 4 of the task" in story.stdout  # its limits went with the master
    done = ended.cli("replay", f"gone/{MAP}/1")
    assert done.returncode == 1 and "mine.py, line 12, in parse" in done.stderr
    done = ended.cli("replay", f"gone/{MAP}/0", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["records"] == 1
    assert file_hashes(ended.state_dir) == before


def test_where_no_cluster_ever_ran(tmp_path: Path) -> None:
    for command in ("story", "replay"):
        done = run_cli(command, "last/sum/0", "--state-dir", str(tmp_path))
        assert done.returncode == 3 and str(tmp_path) in done.stderr
    assert list(tmp_path.iterdir()) == []
