"""Job descriptions that commands submit: from a file, or the two documented ones.

Inputs that exist from where the command was called become absolute paths. Must not know HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from minispark.errors import InvalidRequest
from minispark.model.function_names import WRITERS

_READERS = {".csv": "read_csv", ".jsonl": "read_jsonl", ".ndjson": "read_jsonl"}
_COMPRESSED = (".gz", ".bz2", ".xz")


def read_job(path: str) -> dict[str, Any]:
    """The job of a JSON or YAML file, its inputs absolute. Raises InvalidRequest."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the job file {path} cannot be read: {error}") from error
    try:
        if path.endswith((".yaml", ".yml")):
            import yaml

            try:
                job = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(" ".join(str(error).split())) from error
        else:
            job = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"the job file {path} is malformed: {error}") from error
    if not isinstance(job, dict):
        raise InvalidRequest(
            f"the job file {path} holds no job: an object with name, dag, parallelism"
        )
    return with_absolute_inputs(job)


def with_modules(job: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """The job with the sources of these files as its modules, each named as its file.

    Raises InvalidRequest for one that cannot be read.
    """
    modules = dict(job.get("modules") or {})
    for path in paths:
        try:
            modules[Path(path).stem] = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"the module {path} cannot be read: {error}") from error
    if modules:
        job["modules"] = modules
    return job


def add_module_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        metavar="FILE",
        help="Python code that nodes name as MODULE:FUNCTION; may be said several times",
    )


def with_engine(job: dict[str, Any], engine: str | None) -> dict[str, Any]:
    """The job, for that engine where one is said."""
    return job if engine is None else {**job, "engine": engine}


def add_engine_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=("local", "spark"),
        help="who runs its tasks: this cluster's workers, or Apache Spark; default: the cluster's",
    )


def with_absolute_inputs(job: dict[str, Any]) -> dict[str, Any]:
    """The job, with every path that leads somewhere from here, or is written to, made absolute."""
    dag = job.get("dag")
    nodes = dag.get("nodes") if isinstance(dag, dict) else None
    for node in nodes if isinstance(nodes, list) else []:
        if isinstance(node, dict) and isinstance(node.get("path"), str):
            is_written = node.get("op") in tuple(WRITERS)
            to_absolute = os.path.abspath if is_written else absolute_input
            node["path"] = to_absolute(node["path"])
    return job


def absolute_input(path: str) -> str:
    """Absolute, when the file, directory or glob has something to match from here."""
    import glob

    exists = os.path.exists(path) or any(True for _ in glob.iglob(path))
    return os.path.abspath(path) if exists else path


def reader_of(path: str) -> str:
    """The reader for a file, by its extension: `.csv`, `.jsonl`, else text."""
    stem, extension = os.path.splitext(path.lower())
    if extension in _COMPRESSED:
        extension = os.path.splitext(stem)[1]
    return _READERS.get(extension, "read_text")


def word_count(name: str, parallelism: int, path: str, plan: str | None) -> dict[str, Any]:
    """The documented word count, without lower-casing."""
    return _job(
        name,
        parallelism,
        plan,
        [
            {"id": "read", "op": reader_of(path), "path": path, "partitions": parallelism},
            {"id": "flatmap", "op": "flat_map", "fn_name": "split_words"},
            {"id": "map", "op": "map", "fn_name": "pair_with_one"},
            {"id": "reduce", "op": "reduce_by_key", "fn_name": "sum", "key": "word"},
        ],
        [["read", "flatmap"], ["flatmap", "map"], ["map", "reduce"]],
    )


def join(
    name: str, parallelism: int, sales: str, products: str, plan: str | None
) -> dict[str, Any]:
    """The documented join of sales with products."""
    read = {"op": "read_csv", "partitions": parallelism}
    return _job(
        name,
        parallelism,
        plan,
        [
            {"id": "read_sales", "path": sales, **read},
            {"id": "read_products", "path": products, **read},
            {"id": "map_sales", "op": "map", "fn_name": "extract_key"},
            {"id": "map_products", "op": "map", "fn_name": "extract_key"},
            {"id": "join", "op": "join", "key": "product_id", "join_with": "map_products"},
        ],
        [
            ["read_sales", "map_sales"],
            ["read_products", "map_products"],
            ["map_sales", "join"],
            ["map_products", "join"],
        ],
    )


def _job(
    name: str, parallelism: int, plan: str | None, nodes: list[dict[str, Any]], edges: list[Any]
) -> dict[str, Any]:
    job: dict[str, Any] = {
        "name": name,
        "dag": {"nodes": nodes, "edges": edges},
        "parallelism": parallelism,
    }
    if plan is not None:
        job["plan"] = plan
    return with_absolute_inputs(job)
