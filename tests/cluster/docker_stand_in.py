"""Runs the services of docker-compose.yml as processes of this host, for machines without a Docker
engine: `docker compose up|run|kill|port|down` as far as the scripts use them.

Every service has a loopback address of its own instead of a network, and directories of this host
instead of volumes. Must not know what the services are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.image import Image, image_of_dockerfile

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
IGNORED = ("-d", "--rm", "--no-deps", "-T")


class Stand:
    """The services, and who runs: `STAND_IN` names the directory, with `bin` of the image in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        self._services: dict[str, Any] = self._document["services"]
        self._image: Image = image_of_dockerfile(ROOT / "Dockerfile")
        self._number = int((folder / "number").read_text())
        if not (folder / "data").exists():
            (folder / "data").symlink_to(ROOT / "data")  # where containers work, in /app

    def address(self, service: str) -> str:
        place = list(self._services).index(service) + 1
        return f"127.{self._number >> 8}.{self._number & 255}.{place}"

    def here(self, text: str) -> str:
        """What a container calls so, as this host does."""
        for name in self._services:
            text = text.replace(f"//{name}:", f"//{self.address(name)}:")
        for inside, outside in self._mounts().items():
            text = text.replace(inside, outside)
        return text

    def _mounts(self) -> dict[str, str]:
        found = {}
        for volume in self._document["x-minispark"]["volumes"]:
            source, inside = volume.split(":")[:2]
            is_named = source in self._document["volumes"]
            found[inside] = str(self._folder / source if is_named else ROOT / source)
        return found

    def environment(self, service: str) -> dict[str, str]:
        own = self._services[service].get("environment", {})
        env = {name: self.here(value) for name, value in {**self._image.env, **own}.items()}
        if env["MASTER_HOST"] == "0.0.0.0":  # of a container that is its own address
            env["MASTER_HOST"] = self.address(service)
        return {
            **env,
            "PATH": f"{self._folder / 'bin'}:/usr/bin:/bin",
            "HOSTNAME": self.address(service),
        }

    def words(self, service: str, given: list[str]) -> list[str]:
        words = [self.here(word) for word in given or self._services[service]["command"]]
        for i, word in enumerate(words[1:], 1):
            if words[i - 1] == "--host":
                words[i] = self.address(word)
        return [*self._image.entrypoint, *words]

    def up(self, services: list[str]) -> None:
        for service in services:
            self.up([n for n in self._services[service].get("depends_on", {}) if not self._pid(n)])
            if self._pid(service):
                continue
            self._folder.joinpath("state").mkdir(mode=0o700, exist_ok=True)
            with (self._folder / f"{service}.log").open("a") as log:
                process = subprocess.Popen(
                    self.words(service, []),
                    env=self.environment(service),
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            (self._folder / f"{service}.pid").write_text(str(process.pid))
            self._await_health(service)

    def _await_health(self, service: str) -> None:
        test = self._services[service].get("healthcheck", {}).get("test")
        command = list(self._image.healthcheck)
        if test is not None:
            assert test[0] == "CMD-SHELL"
            command = ["sh", "-c", test[1].replace("$$", "$")]
        command = [word.replace("127.0.0.1", self.address(service)) for word in command]
        deadline = time.monotonic() + PATIENCE_S
        env = self.environment(service)
        while subprocess.run(command, env=env, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline or not self._pid(service):
                sys.exit((self._folder / f"{service}.log").read_text())
            time.sleep(0.1)  # as an engine does, which asks every 5 s

    def _pid(self, service: str) -> int | None:
        try:
            pid = int((self._folder / f"{service}.pid").read_text())
            return pid if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE else None
        except (OSError, psutil.NoSuchProcess):
            return None

    def end(self, services: list[str], is_orderly: bool) -> None:
        """A container that ends takes all its processes with it."""
        for service in services:
            pid = self._pid(service)
            if pid is None:
                continue
            process = psutil.Process(pid)
            family = [process, *process.children(recursive=True)]
            if is_orderly:
                process.terminate()
                psutil.wait_procs([process], timeout=10)
            for one in family:
                if one.is_running():
                    one.kill()
            psutil.wait_procs(family, timeout=10)
            (self._folder / f"{service}.pid").unlink()

    def command(self, words: list[str]) -> int:
        while words and words[0] in ("-p", "--profile"):
            words = words[2:]
        name, rest = words[0], [word for word in words[1:] if word not in IGNORED]
        match name:
            case "build":
                pass  # the test has built it
            case "up":
                self.up(rest)
            case "run":
                return subprocess.call(
                    self.words(rest[0], rest[1:]),
                    env=self.environment(rest[0]),
                    cwd=self._folder,
                )
            case "kill":
                self.end(rest, is_orderly=False)
            case "port":
                print(f"{self.address(rest[0])}:{rest[1]}")
            case "down":
                self.end([name for name in self._services if name != "master"], is_orderly=True)
                self.end(["master"], is_orderly=True)
            case _:
                sys.exit(f"the stand-in has no `compose {name}`")
        return 0


def main(words: list[str]) -> int:
    if words == ["info"]:
        return 0
    assert words[0] == "compose", words
    return Stand(Path(os.environ["STAND_IN"])).command(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
