"""Job descriptions that several tests submit."""

from __future__ import annotations

import itertools
from typing import Any


def job(
    nodes: list[dict[str, Any]], parallelism: int, plan: str | None = None, **more: Any
) -> dict[str, Any]:
    """A job whose nodes form a chain, unless `edges` says otherwise."""
    ids = [node["id"] for node in nodes]
    edges = more.pop("edges", [[a, b] for a, b in itertools.pairwise(ids)])
    request: dict[str, Any] = {
        "name": more.pop("name", "test"),
        "dag": {"nodes": nodes, "edges": edges},
        "parallelism": parallelism,
        **more,
    }
    if plan is not None:
        request["plan"] = plan
    return request


def word_count(
    path: str, parallelism: int, plan: str | None = None, op: str = "read_text"
) -> dict[str, Any]:
    return job(
        [
            {"id": "read", "op": op, "path": path},
            {"id": "flatmap", "op": "flat_map", "fn_name": "split_words"},
            {"id": "map", "op": "map", "fn_name": "pair_with_one"},
            {"id": "reduce", "op": "reduce_by_key", "fn_name": "sum", "key": "word"},
        ],
        parallelism,
        plan,
        name="wordcount",
    )


def join(sales: str, products: str, parallelism: int, plan: str | None = None) -> dict[str, Any]:
    return job(
        [
            {"id": "read_sales", "op": "read_csv", "path": sales},
            {"id": "read_products", "op": "read_csv", "path": products},
            {"id": "map_sales", "op": "map", "fn_name": "extract_key"},
            {"id": "map_products", "op": "map", "fn_name": "extract_key"},
            {"id": "join", "op": "join", "key": "product_id", "join_with": "map_products"},
        ],
        parallelism,
        plan,
        name="join",
        edges=[
            ["read_sales", "map_sales"],
            ["read_products", "map_products"],
            ["map_sales", "join"],
            ["map_products", "join"],
        ],
    )
