"""The documented data and the benchmark's come from a seed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_data"


def make(which: str, folder: Path, seed: int, lines: int | None = None) -> dict[str, str]:
    words = [which, "--out", str(folder), "--seed", str(seed)]
    if lines is not None:
        words += ["--lines", str(lines)]
    subprocess.run([sys.executable, str(SCRIPT), *words], check=True, capture_output=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("which", ["B", "C"])
def test_the_same_seed_makes_the_same_data(which: str, tmp_path: Path) -> None:
    first, again = make(which, tmp_path / "1", 7, 5000), make(which, tmp_path / "2", 7, 5000)
    assert first == again
    assert make(which, tmp_path / "3", 8, 5000) != first


def test_a_is_the_documented_lines(tmp_path: Path) -> None:
    text = make("A", tmp_path, 1, 3)["a.csv"].splitlines()
    assert text[0] == "text" and len(text) == 4
    assert text[3] == "line 2 hello world foo bar baz test benchmark data lorem ipsum"


def test_b_is_zipf(tmp_path: Path) -> None:
    counts = Counter(make("B", tmp_path, 1, 1_000_000)["b.txt"].split()).most_common(2)
    assert 1.7 < counts[0][1] / counts[1][1] < 2.3


def test_c_joins(tmp_path: Path) -> None:
    tables = make("C", tmp_path, 1, 1000)
    products = {line.partition(",")[0] for line in tables["products.csv"].splitlines()[1:]}
    sales = [line.partition(",")[0] for line in tables["sales.csv"].splitlines()[1:]]
    assert len(sales) == 1000 and set(sales) <= products


@pytest.mark.parametrize(
    ("which", "name", "lines"),
    [
        ("100", "lines_100.csv", 100),
        ("1000", "lines_1000.csv", 1000),
        ("10000", "large.csv", 10_000),
        ("1m", "benchmark_1m.csv", 1_000_000),
    ],
)
def test_the_documented_sizes(which: str, name: str, lines: int, tmp_path: Path) -> None:
    text = make(which, tmp_path, 1)[name]
    assert text.startswith("text\nline 0 hello") and text.count("\n") == 1 + lines


def test_the_documented_join_is_1000_sales_of_100_products(tmp_path: Path) -> None:
    tables = make("join", tmp_path, 1)
    assert tables["sales.csv"].count("\n") == 1001
    assert tables["products.csv"].count("\n") == 101
