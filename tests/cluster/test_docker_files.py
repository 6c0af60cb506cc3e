"""Dockerfile, docker-compose.yml and the scripts that use them, as far as a machine without a
Docker engine allows: the schema, the documented services, and every command of theirs, run by
processes in a bare virtual environment instead of containers.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from minispark.config import ENVIRONMENT
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, wait_until
from tests.cluster.test_by_hand import free_ports
from tests.image import Image, build, image_of_dockerfile

NEEDS_S = 240
CLIENT_VARIABLES = {"MASTER_URL", "MINISPARK_TOKEN_FILE"}
"""Of commands, not of the configuration."""


@pytest.fixture(scope="module")
def image() -> Image:
    return image_of_dockerfile(ROOT / "Dockerfile")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def built(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    build(image, ROOT, folder)
    return folder


def test_the_image_is_small_and_its_user_owns_its_directory(image: Image) -> None:
    assert re.fullmatch(r"python:3\.1[1-9]-slim", image.base)
    assert image.user not in ("root", "0")
    assert any(f"useradd --uid 1000 --create-home {image.user}" in run for run in image.runs)
    assert any(f"-o {image.user}" in run and "/tmp/minispark" in run for run in image.runs)
    assert any("pip install --no-cache-dir" in run for run in image.runs)


def test_what_the_image_is_made_of_is_sent_to_the_engine(image: Image) -> None:
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    for *sources, _ in image.copies:
        for source in sources:
            assert (ROOT / source).exists()
            assert f"!{source.split('/')[0]}" in sent


def test_the_compose_file_is_valid() -> None:
    words = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    path = Path(sys.executable).with_name(words[0])
    done = subprocess.run(
        [str(path), *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_documented_services_profiles_and_ports(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name: one.get("profiles", []) for name, one in services.items()} == {
        "master": [],
        "worker1": [],
        "worker2": [],
        "worker3": ["full"],
        "worker-flaky": ["test"],
        "client": ["tools"],
    }
    published = {name: one.get("ports", []) for name, one in services.items()}
    assert published == {
        "master": ["127.0.0.1:8080:8080"],
        "worker1": ["127.0.0.1:10000:10000"],
        "worker2": ["127.0.0.1:10001:10000"],
        "worker3": ["127.0.0.1:10002:10000"],
        "worker-flaky": [],
        "client": [],
    }
    assert services["worker-flaky"]["environment"]["FAIL_PROBABILITY"] == "30"
    for name, one in services.items():
        assert "state:/tmp/minispark" in one["volumes"]  # state and token are everybody's
        if name != "master":
            assert one["depends_on"] == {"master": {"condition": "service_healthy"}}
            assert one["environment"]["MASTER_URL"] == "http://master:8080"
        if name.startswith("worker"):
            command = one["command"]
            assert one["hostname"] == command[command.index("--host") + 1] == name
    assert set(compose["volumes"]) == {"state"}


def test_only_documented_variables_are_set(image: Image, compose: dict[str, Any]) -> None:
    known = {*ENVIRONMENT, *CLIENT_VARIABLES}
    assert set(image.env) <= known
    for service in compose["services"].values():
        assert set(service["environment"]) <= known


def test_the_images_commands_run_in_a_bare_environment(
    image: Image, built: Path, tmp_path: Path
) -> None:
    http, socket = free_ports(2)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    env = {name: value.replace("/tmp/minispark", str(state)) for name, value in image.env.items()}
    env |= {"PATH": f"{built / 'bin'}:/usr/bin:/bin", "MASTER_HTTP_PORT": str(http)}
    env["MASTER_SOCKET_PORT"] = str(socket)
    health = [word.replace(":8080", f":{http}") for word in image.healthcheck]

    def is_healthy() -> bool:
        done = subprocess.run(health, env=env, cwd=tmp_path, capture_output=True, check=False)
        return done.returncode == 0

    assert not is_healthy()
    master = subprocess.Popen(
        [*image.entrypoint, *image.command],
        env=env,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(is_healthy, "the container is healthy")
        token = state / "token"
        assert len(token.read_text().strip()) >= 32 and token.stat().st_mode & 0o077 == 0
        client = {**env, "MASTER_URL": f"http://127.0.0.1:{http}"}
        done = subprocess.run(
            [*image.entrypoint, "status"], env=client, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr  # by the token: the master listens everywhere
    finally:
        master.terminate()
        _, err = master.communicate(timeout=20)
    assert master.returncode == 0, err
    assert not is_healthy()
    again = token.read_text()
    subprocess.run(
        [*image.entrypoint, "master", "--help"], env=env, stdout=subprocess.DEVNULL, check=True
    )
    assert token.read_text() == again


@pytest.fixture
def stand_in(built: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a shell in which `docker` is the stand-in."""
    folder, shell = tmp_path / "stand", tmp_path / "shell"
    folder.mkdir()
    shell.mkdir()
    (folder / "bin").symlink_to(built / "bin")
    (folder / "number").write_text(str(random.randrange(16 << 8, 250 << 8)))
    docker = shell / "docker"
    docker.write_text(
        f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m tests.cluster.docker_stand_in "$@"\n'
    )
    docker.chmod(0o755)
    path = f"{shell}:{os.environ['PATH']}"
    yield {**PLAIN_ENVIRONMENT, "PATH": path, "STAND_IN": str(folder), "TMPDIR": str(tmp_path)}
    assert list(folder.glob("*.pid")) == []


def run_script(name: str, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "scripts" / name), *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=NEEDS_S,
        check=False,
    )


def test_the_demo(stand_in: dict[str, str]) -> None:
    done = run_script("docker-demo.sh", stand_in, "5000")
    assert done.returncode == 0, done.stdout
    for said in ("workers Up: 2", "demo-100,", "demo-1000,", "demo-5000,", "tasks of worker2"):
        assert said in done.stdout
    assert done.stdout.endswith("PASSED\n")


def test_the_fault_test(stand_in: dict[str, str]) -> None:
    done = run_script("docker-fault-test.sh", stand_in)
    assert done.returncode == 0, done.stdout
    assert "workers down: 1" in done.stdout and "the words of flaky" in done.stdout


def test_the_fault_test_fails_when_another_worker_died(stand_in: dict[str, str]) -> None:
    done = run_script("docker-fault-test.sh", {**stand_in, "VICTIM": "worker2"})
    assert done.returncode == 1, done.stdout
    assert "WRONG  tasks lost with worker1" in done.stdout


def test_without_an_engine_the_scripts_say_so(stand_in: dict[str, str]) -> None:
    docker = Path(stand_in["PATH"].split(":")[0]) / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    for name in ("docker-demo.sh", "docker-fault-test.sh"):
        done = run_script(name, stand_in)
        assert done.returncode == 3 and "no Docker engine answers here" in done.stdout
