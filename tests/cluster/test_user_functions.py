"""Jobs with the user's own functions on real processes: equal to the same code run here; and what
such code can do wrong stays inside its job (F12, F15, F20, F21).
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minispark.client import Client
from minispark.errors import InvalidRequest
from tests import jobs
from tests.cluster.harness import ROOT, Cluster, attempts_left, wait_until

CODE = """
import statistics
from helper import is_vowel

def words(line):
    yield from line.lower().split()

def initial(word):
    return word[0], {"length": len(word), "vowels": sum(map(is_vowel, word)), "words": [word]}

def keep(key, value):
    return key.isalpha() and value["length"] > 2

def longest(a, b):
    print("longest of", a["words"], b["words"])
    best = max(a, b, key=lambda v: (v["length"], v["words"]))
    return {**best, "vowels": a["vowels"] + b["vowels"]}

def as_number(key, value):
    return value["vowels"]
"""
HELPER = "def is_vowel(letter):\n    return letter in 'aeiou'\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "text.txt"
    lines = (ROOT / "README.md").read_text().splitlines()
    path.write_text("\n".join(lines * 3))
    return path


def own_job(text: Path, plan: str, parallelism: int = 4) -> dict[str, Any]:
    return jobs.job(
        [
            {"id": "read", "op": "read_text", "path": str(text)},
            {"id": "words", "op": "flat_map", "fn": "own:words"},
            {"id": "ascii", "op": "filter", "expr": "'a' <= value and value < '{'"},
            {"id": "initial", "op": "map", "fn": "own:initial"},
            {"id": "keep", "op": "filter", "fn": "own:keep"},
            {"id": "longest", "op": "reduce_by_key", "fn": "own:longest"},
        ],
        parallelism,
        plan,
        modules={"own": CODE, "helper": HELPER},
    )


def own_oracle(text: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in text.read_text().lower().split():
        if not "a" <= word < "{" or len(word) <= 2 or not word[0].isalpha():
            continue
        vowels = sum(letter in "aeiou" for letter in word)
        old = found.setdefault(word[0], {"length": 0, "vowels": 0, "words": [""]})
        if (len(word), [word]) > (old["length"], old["words"]):
            old["length"], old["words"] = len(word), [word]
        old["vowels"] += vowels
    return found


@pytest.mark.parametrize("plan", ["fused", "naive"])
@pytest.mark.parametrize("parallelism", [1, 4, 13])
def test_own_functions_equal_the_same_code_run_here(
    shared_cluster: Cluster, text: Path, plan: str, parallelism: int
) -> None:
    with shared_cluster.client() as client:
        info = client.submit(own_job(text, plan, parallelism))
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        assert info["request"]["modules"] == {"own": CODE, "helper": HELPER}
        rows = {key: json.loads(value) for key, value in client.results(info["id"])}
    assert rows == own_oracle(text)


@pytest.mark.parametrize("plan", ["fused", "naive"])
def test_named_functions_after_own_ones_see_text(
    shared_cluster: Cluster, text: Path, plan: str
) -> None:
    request = own_job(text, plan)
    nodes = request["dag"]["nodes"][:5]
    nodes += [
        {"id": "number", "op": "map", "fn": "own:as_number"},
        {"id": "sum", "op": "reduce_by_key", "fn": "sum"},
    ]
    with shared_cluster.client() as client:
        asked = jobs.job(nodes, 3, plan, modules=request["modules"])
        info = client.wait(client.submit(asked)["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        got = dict(client.results(info["id"]))
    want = {key: str(value["vowels"]) for key, value in own_oracle(text).items()}
    assert got == want


def test_what_they_print_lies_in_their_jobs_log(shared_cluster: Cluster, text: Path) -> None:
    with shared_cluster.client() as client:
        info = client.wait(client.submit(own_job(text, "fused", 2))["id"], timeout_s=60)
    log = (shared_cluster.state_dir / f"{info['id']}_prints.log").read_text()
    assert "read+words+ascii+initial+keep/0/0 longest of" in log


OUTSIDE = """
import os

def f(line):
    os.system("echo said $0 of %s; echo wept >&2; printf unended" % line)
    return line

def broken(line):
    os.write(2, b"the library gave up\\n")
    os.abort()
"""


@pytest.mark.parametrize("function", ["f", "broken"])
def test_what_their_subprocesses_and_libraries_write_lies_there_too(
    shared_cluster: Cluster, tmp_path: Path, function: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("one\ntwo\n")
    nodes = [
        {"id": "read", "op": "read_text", "path": str(path)},
        {"id": "own", "op": "map", "fn": f"own:{function}"},
    ]
    with shared_cluster.client() as client:
        asked = client.submit(jobs.job(nodes, 2, modules={"own": OUTSIDE}))
        job_id = client.wait(asked["id"], timeout_s=60)["id"]
    log = shared_cluster.state_dir / f"{job_id}_prints.log"
    wanted = {
        "f": [r"own/0/0 said sh of one\n", r"own/0/0 wept\n", r"own/1/0 unended\n"],
        # the job fails with the first of the two tasks whose last attempt fails
        "broken": [
            r"own/[01]/3 the library gave up\n",
            r"own/[01]/3 its executor process ended with signal SIGABRT",
        ],
    }[function]
    # what is in a pipe at a task's end arrives a little later
    wait_until(lambda: all(re.search(text, log.read_text()) for text in wanted), "all is written")
    assert not any(text in shared_cluster.logs() for text in ("wept", "gave up"))
    replayed = shared_cluster.cli("replay", f"{job_id}/read+own/0", "--json")
    if function == "f":
        assert json.loads(replayed.stdout)["records"] == 1
        assert "said sh of one" in replayed.stderr


def test_two_jobs_may_call_different_code_by_one_name(shared_cluster: Cluster, text: Path) -> None:
    """And what one of them changes in its process, the other does not see."""
    code = "import json\ndef f(v):\n    n = getattr(json, 'n', 0)\n    json.n = 1\n    return n\n"
    with shared_cluster.client() as client:
        results = []
        for number in range(6):
            request = jobs.job(
                [
                    {"id": "read", "op": "read_text", "path": str(text)},
                    {"id": "f", "op": "map", "fn": "mine:f"},
                    {"id": "key", "op": "map", "expr": f"('{number}', value)"},
                    {"id": "sum", "op": "reduce_by_key", "expr": "min(a, b)"},
                ],
                1,
                modules={"mine": code + "\n" * number},
            )
            info = client.wait(client.submit(request)["id"], timeout_s=60)
            assert info["state"] == "SUCCEEDED", info["status"]
            results += list(client.results(info["id"]))
    assert results == [(str(number), "0") for number in range(6)]


def test_strangers_run_no_code_here(shared_cluster: Cluster, text: Path) -> None:
    request = jobs.job(
        [
            {"id": "read", "op": "read_csv", "path": "data/input.csv"},
            {"id": "long", "op": "filter", "expr": "len(value) > 3"},
        ],
        1,
    )
    url = f"{shared_cluster.document()['master_url']}/api/v1/jobs"
    body = urllib.request.Request(
        url, json.dumps(request).encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(body, timeout=10)
    assert caught.value.code == 401
    assert b"send the token" in caught.value.read()


def test_the_command_line_ships_modules(shared_cluster: Cluster) -> None:
    words = ("data/jobs/stems.yaml", "--module", "data/jobs/mytext.py")
    done = shared_cluster.cli("submit", *words, "--wait")
    assert done.returncode == 0, done.stderr
    missing = shared_cluster.cli("submit", words[0])
    assert missing.returncode == 2
    assert "submit it with --module" in missing.stderr


# --- what such code does wrong ----------------------------------------------------------------


def failing(client: Client, text: Path, code: str, **more: Any) -> str:
    """The message of a job whose map function `bad:f` is that code."""
    request = jobs.job(
        [
            {"id": "read", "op": "read_text", "path": str(text)},
            {"id": "f", "op": "map", "fn": "bad:f"},
        ],
        1,
        modules={"bad": code},
        **more,
    )
    info = client.wait(client.submit(request)["id"], timeout_s=60)
    assert info["state"] == "FAILED", info
    message: str = info["status"]["Failed"]
    return message


@pytest.fixture(scope="module")
def small_cluster() -> Any:
    cluster = Cluster(
        "scheduler.task_retries_max=1",
        "scheduler.task_timeout_s=1",
        "memory.task_max_mb=32",
        workers=1,
        threads=2,
    )
    done = cluster.up()
    assert done.returncode == 0, done.stderr
    yield cluster
    logs = cluster.logs()
    print(logs)
    assert cluster.close() == [], logs


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os\ndef f(v):\n    os._exit(7)\n", "its executor process ended with status 7"),
        (
            "import os, signal\ndef f(v):\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
            "its executor process ended with signal SIGSEGV",
        ),
        (
            "import ctypes\ndef f(v):\n    ctypes.string_at(0)\n",
            "its executor process ended with signal SIGSEGV",
        ),
        ("import sys\ndef f(v):\n    sys.exit('no')\n", "bad.py, line 3, in f: SystemExit: no"),
    ],
)
def test_f12_code_that_ends_its_process_fails_only_its_job(
    small_cluster: Cluster, text: Path, code: str, said: str
) -> None:
    with small_cluster.client() as client:
        other = client.submit(jobs.word_count(str(text), 2))
        message = failing(client, text, code)
        assert message.startswith(said)
        for number in range(2):
            assert f"attempt {number} on worker-1" in message
        assert client.wait(other["id"], timeout_s=60)["state"] == "SUCCEEDED"
    assert small_cluster.process("worker-1")["restarts"] == 0
    wait_until(lambda: attempts_left(small_cluster) == [], "attempt directories are deleted")


@pytest.mark.parametrize(
    "code",
    [
        "def f(v):\n    while True:\n        pass\n",
        "import re\ndef f(v):\n    return re.match('(a+)+$', 'a' * 60 + 'b')\n",
        "import signal, time\ndef f(v):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    time.sleep(1000)\n",
    ],
)
def test_f15_code_that_hangs_is_stopped_and_its_slot_is_used_again(
    small_cluster: Cluster, text: Path, code: str
) -> None:
    with small_cluster.client() as client:
        assert failing(client, text, code).startswith("stopped after 1 s")
        after = client.submit(jobs.word_count(str(text), 2))
        assert client.wait(after["id"], timeout_s=30)["state"] == "SUCCEEDED"
    assert small_cluster.process("worker-1")["restarts"] == 0


def test_f20_the_users_own_line_comes_first_then_the_traceback(
    small_cluster: Cluster, text: Path
) -> None:
    code = (
        "def inner(value):\n    return int(value)\n\ndef f(value):\n    return inner('no number')\n"
    )
    with small_cluster.client() as client:
        whole = failing(client, text, code)
    message = [line for line in whole.splitlines() if set(line) - set(" ^~")]
    assert message[0].startswith("bad.py, line 2, in inner: ValueError: invalid literal")
    assert message[1] == "Traceback (most recent call last):"
    assert message[2:6] == [
        '  File "bad.py", line 5, in f',
        "    return inner('no number')",
        '  File "bad.py", line 2, in inner',
        "    return int(value)",
    ]
    assert any(line.startswith("the record: '# Mini-Spark'") for line in message)
    assert not any("minispark/" in line for line in message)
    assert whole.count("Traceback") == 1  # the history of attempts has a line for each


def test_f20_a_module_that_fails_when_it_is_loaded(small_cluster: Cluster, text: Path) -> None:
    with small_cluster.client() as client:
        message = failing(client, text, "def f(v):\n    return v\n\nimport nothing_like_that\n")
    assert message.startswith("bad.py, line 4, in <module>: ModuleNotFoundError")


def test_f21_code_that_takes_all_memory_is_stopped(small_cluster: Cluster, text: Path) -> None:
    code = "kept = []\ndef f(v):\n    while True:\n        kept.append(bytearray(1 << 20))\n"
    with small_cluster.client() as client:
        message = failing(client, text, code)
    assert "memory.task_max_mb (32 MB)" in message.splitlines()[0]
    assert small_cluster.process("worker-1")["restarts"] == 0


def test_a_syntax_error_is_refused_at_submit(shared_cluster: Cluster, text: Path) -> None:
    with shared_cluster.client() as client, pytest.raises(InvalidRequest) as caught:
        failing(client, text, "def f(v)\n    return v\n")
    assert "bad.py, line 1" in str(caught.value)
    assert caught.value.field == "modules.bad"


def test_own_functions_survive_a_killed_worker(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster()
    with cluster.client() as client:
        info = client.submit(own_job(text, "fused", 12))
        assert cluster.cli("chaos", "kill-worker").returncode == 0
        assert cluster.cli("chaos", "kill-master").returncode == 0
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        rows = {key: json.loads(value) for key, value in client.results(info["id"])}
        assert rows == own_oracle(text)
    cluster.note_processes()
