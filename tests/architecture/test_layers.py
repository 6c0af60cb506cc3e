"""The layers of DESIGN.md: a package imports itself and strictly lower ones; pure ones touch
nothing.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "minispark"

LAYERS = {
    "errors": 0, "model": 0, "config": 0,
    "plan": 1, "scheduling": 1, "compute": 1, "metrics": 1,
    "transport": 2, "storage": 2, "supervisor": 2, "tasks": 2, "web": 2,
    "master": 3, "spark": 3, "worker": 3, "client": 3, "operations": 3,
    "chaos": 4, "driver": 4,
    "cluster": 5,
    "cli": 6,
}  # fmt: skip
PURE = ("errors", "model", "plan", "scheduling", "compute", "metrics")
IMPURE_MODULES = {
    "asyncio", "concurrent", "datetime", "http", "io", "multiprocessing", "os", "pathlib", "psutil",
    "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver",
    "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "yaml",
}  # fmt: skip
ALLOWED = {("compute", "sys"), ("plan", "sys")}
"""`sys.byteorder` says how integers lie in memory, `sys.stdlib_module_names` which names are taken:
constants, no effect.
"""
FILE_LINES_MAX = 440


def imports_of(source: str) -> list[str]:
    """The modules that a source imports, wherever the import stands."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names += [
                f"{node.module}.{alias.name}" if node.module == "minispark" else node.module
                for alias in node.names
            ]
    return names


def violations(package: str, source: str) -> list[str]:
    """What a module of the package imports and must not."""
    found: list[str] = []
    for name in imports_of(source):
        parts = name.split(".")
        if parts[0] == "minispark":
            target = parts[1] if len(parts) > 1 else ""
            if target in LAYERS and target != package and LAYERS[target] >= LAYERS[package]:
                # the nouns of layer 0 may name one another
                if not (LAYERS[package] == 0 and LAYERS[target] == 0):
                    found.append(name)
        elif package in PURE and parts[0] in IMPURE_MODULES and (package, parts[0]) not in ALLOWED:
            found.append(name)
    return found


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative.name == "__init__.py" and len(relative.parts) == 1:
            continue
        found.append((relative.parts[0].removesuffix(".py"), path))
    return found


@pytest.mark.parametrize(("package", "path"), modules(), ids=lambda v: str(v)[-40:])
def test_module_imports_only_what_its_layer_may(package: str, path: Path) -> None:
    assert package in LAYERS, f"{path} belongs to no layer"
    assert violations(package, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("scheduling", "import socket"),
        ("compute", "def f():\n    from time import monotonic"),
        ("model", "from pathlib import Path"),
        ("plan", "from minispark.storage.readers import Reader"),
        ("storage", "from minispark.transport import codec"),
        ("master", "import minispark.worker.task"),
        ("transport", "from minispark import client"),
    ],
)
def test_checker_sees_a_planted_violation(package: str, source: str) -> None:
    assert violations(package, source)


def optional_imports(source: str) -> list[str]:
    """What a module imports of Spark as soon as it is imported itself."""
    tree = ast.parse(source)
    later = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    inside = {id(child) for node in later for child in ast.walk(node)}
    at_once = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in inside
    ]
    return [line for line in at_once if re.search(r"\b(pyspark|py4j)\b", line)]


@pytest.mark.parametrize(("package", "path"), modules(), ids=lambda v: str(v)[-40:])
def test_spark_is_imported_by_its_engine_alone_and_only_when_it_is_used(
    package: str, path: Path
) -> None:
    source = path.read_text(encoding="utf-8")
    assert optional_imports(source) == []
    roots = {name.split(".")[0] for name in imports_of(source)}
    assert package == "spark" or not roots & {"pyspark", "py4j"}


@pytest.mark.parametrize("source", ["import pyspark", "if True:\n    from py4j import protocol"])
def test_checker_sees_spark_imported_at_once(source: str) -> None:
    assert optional_imports(source)
    assert not optional_imports(f"def f():\n    {source.splitlines()[-1].strip()}")


def test_config_reads_files_only_in_load() -> None:
    source = (PACKAGE / "config.py").read_text(encoding="utf-8")
    assert {name.split(".")[0] for name in imports_of(source)} & IMPURE_MODULES == {
        "pathlib",
        "yaml",
    }


def test_no_file_outgrows_a_reader() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for _, path in modules()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > FILE_LINES_MAX
    }
    assert long == {}


def test_every_module_opens_with_its_job() -> None:
    bare = [
        str(path.relative_to(ROOT))
        for _, path in modules()
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert bare == []
