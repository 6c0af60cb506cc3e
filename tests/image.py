"""What a Dockerfile says, and the image that it describes, built in a bare virtual environment.

Of its RUN lines only `pip install` is run. Must not know what the image is for.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Image:
    """Instructions of a Dockerfile with one stage."""

    base: str
    copies: tuple[tuple[str, ...], ...]
    """Sources, and where to, without options."""
    runs: tuple[str, ...]
    env: dict[str, str]
    user: str
    healthcheck: tuple[str, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]


def image_of_dockerfile(path: Path) -> Image:
    """Raises ValueError for what this cannot read."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, rest = line.split(maxsplit=1)
        found.setdefault(name, []).append(rest)
    healthcheck = found["HEALTHCHECK"][0].partition("CMD ")[2]
    env = dict(word.split("=", 1) for line in found["ENV"] for word in shlex.split(line))
    copies = [[w for w in line.split() if not w.startswith("--")] for line in found["COPY"]]
    (base,) = found["FROM"]
    (user,) = found["USER"]
    return Image(
        base=base,
        copies=tuple(map(tuple, copies)),
        runs=tuple(found["RUN"]),
        env=env,
        user=user,
        healthcheck=tuple(json.loads(healthcheck)),
        entrypoint=tuple(json.loads(found["ENTRYPOINT"][0])),
        command=tuple(json.loads(found["CMD"][0])),
    )


def build(image: Image, root: Path, folder: Path) -> None:
    """Build it into `folder`: `bin` is its /usr/local/bin, `app` its working directory.

    Raises CalledProcessError.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    for *sources, target in image.copies:
        place = folder / "bin" if target.startswith("/usr/local/bin/") else folder / "app"
        place.mkdir(exist_ok=True)
        for source in sources:
            name = Path(target).name if target.startswith("/") else source
            if (root / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(root / source, place / name, ignore=ignored)
            else:
                shutil.copy(root / source, place / name)
    for run in image.runs:
        words = shlex.split(run)
        if words[:2] == ["pip", "install"]:
            subprocess.run(
                [str(folder / "bin" / "pip"), *words[1:]], cwd=folder / "app", check=True
            )
