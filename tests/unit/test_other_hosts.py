"""What is to be run on other hosts, and what makes no sense there."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from minispark.cli.other_hosts import await_up, command, instructions
from minispark.cluster import check_security
from minispark.config import load
from minispark.errors import ConfigError, DeadlineExceeded
from minispark.model.settings import Config, TlsSection
from tests.certificates import section

DOCUMENT = {"processes": [{"name": "master", "ports": {"http": 8080, "socket": 7070}}]}
NO_TLS = TlsSection()
TOKEN = "a-token-that-is-long-enough"


def config_of(tmp_path: Path, text: str, tls: TlsSection = NO_TLS) -> Config:
    path = tmp_path / "c.yaml"
    path.write_text(f"security: {{token: {TOKEN}}}\n{text}")
    files = [f"security.tls.{name}={value}" for name, value in asdict(tls).items() if value]
    return load(str(path), {}, files).config


def test_a_worker_with_a_host_is_not_started_here(tmp_path: Path) -> None:
    config = config_of(
        tmp_path, "workers:\n  - {name: near}\n  - {name: far, host: 10.1.2.3, threads: 4}\n"
    )
    assert [spec.name for spec in config.own_workers()] == ["near"]
    (far,) = config.awaited_workers()
    assert (far.name, far.host, far.port, far.threads) == ("far", "10.1.2.3", 9000, 4)


def test_the_command_tells_what_is_unusual(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        "master: {host: 10.1.2.1}\nscheduler: {heartbeat_interval_s: 0.5}\n"
        "workers: [{name: far, host: 10.1.2.3, threads: 4, port: 9100}]\n",
    )
    (far,) = config.awaited_workers()
    assert command(config, far, DOCUMENT) == [
        "minispark", "worker", "--master", "10.1.2.1:7070", "--token-file", "token",
        "--name", "far", "--advertise", "10.1.2.3", "--set", "workers.base_port=9100",
        "--set", "workers.threads=4", "--set", "scheduler.heartbeat_interval_s=0.5",
    ]  # fmt: skip


def test_a_master_on_every_address_is_named_as_that_host_sees_it(tmp_path: Path) -> None:
    config = config_of(
        tmp_path, "master: {host: 0.0.0.0}\nworkers: [{name: far, host: 127.0.0.9}]\n"
    )
    (far,) = config.awaited_workers()
    assert "127.0.0.1:7070" in command(config, far, DOCUMENT)
    where, what = instructions(config, DOCUMENT, tmp_path)
    assert "far is to run on 127.0.0.9" in where and str(tmp_path / "token") in where
    assert TOKEN not in what


def test_a_master_that_other_hosts_cannot_reach_is_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path, "workers: [{name: far, host: 10.1.2.3}]\n")
    with pytest.raises(ConfigError, match=r"far .* 10\.1\.2\.3, .* set master\.host"):
        check_security(config)


def test_a_host_that_nobody_knows_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(host: str) -> str:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("minispark.cluster.local_address_toward", look_up)
    config = config_of(tmp_path, "master: {host: 0.0.0.0}\nworkers: [{name: far, host: tpyo}]\n")
    with pytest.raises(ConfigError, match=r"far .* tpyo, .* not known.*: correct its host"):
        check_security(config)


def test_what_is_set_for_all_workers_is_told_too(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("master: {host: 10.1.2.1}\nworkers: [{name: far, host: 10.1.2.3}]\n")
    config = load(str(path), {}, ["workers.short_circuit=false"]).config
    (far,) = config.awaited_workers()
    assert command(config, far, DOCUMENT)[-2:] == ["--set", "workers.short_circuit=False"]


def test_what_can_be_read_on_the_wire_is_said(tmp_path: Path) -> None:
    (notice,) = check_security(config_of(tmp_path, "master: {host: 0.0.0.0}\n"))
    assert "without TLS" in notice and "token" in notice
    assert check_security(config_of(tmp_path, "")) == ()


def test_with_tls_nothing_can_be_read_and_the_files_are_told(tmp_path: Path) -> None:
    files = section()
    config = config_of(
        tmp_path, "master: {host: 0.0.0.0}\nworkers: [{name: far, host: 127.0.0.9}]\n", files
    )
    assert check_security(config) == ()
    document = {**DOCUMENT, "tls": {"cert": "/c.pem", "key": "/k.pem", "ca": "/a.pem"}}
    where, what = instructions(config, document, tmp_path)
    for words in ("/c.pem as cert.pem", "/k.pem as key.pem", "/a.pem as ca.pem"):
        assert words in where
    for name in ("cert", "key", "ca"):
        assert f"--set security.tls.{name}={name}.pem" in what


def test_files_that_tls_cannot_use_are_named_at_the_start(tmp_path: Path) -> None:
    config = config_of(tmp_path, "", replace(section(), key="/no/key.pem"))
    with pytest.raises(ConfigError, match=r"security\.tls\.key /no/key\.pem cannot be read"):
        check_security(config)


class Master:
    """Stands for a client: one more worker is Up each time that it is asked."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self.asked = 0

    def workers(self) -> list[dict[str, Any]]:
        self.asked += 1
        down = [{"name": name, "status": "Down"} for name in self._names[self.asked :]]
        return [*({"name": n, "status": "Up"} for n in self._names[: self.asked]), *down]


def test_it_waits_until_every_one_is_up(tmp_path: Path) -> None:
    config = config_of(tmp_path, "workers: [{name: a, host: x}, {name: b, host: y}]\n")
    master = Master("a", "b")
    await_up(master, config, 30.0)  # type: ignore[arg-type]
    assert master.asked == 2


def test_who_does_not_come_is_named(tmp_path: Path) -> None:
    config = config_of(tmp_path, "workers: [{name: a, host: x}, {name: b, host: y}]\n")
    with pytest.raises(DeadlineExceeded, match=r"^b did not come up"):
        await_up(Master("a"), config, 0.0)  # type: ignore[arg-type]
