"""What a job means, record by record in plain Python: no partitions, no order, nothing of the
package.

A value is text, or what a function of the user's made. Where a job's answer depends on an order
that nobody promised (`take`, a sample), its node is not `known`.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from pathlib import Path
from typing import Any

Row = tuple[str | None, Any]
Node = dict[str, Any]


@dataclass
class Answer:
    rows: list[Row]
    is_known: bool = True


def text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def answers(request: dict[str, Any], own: dict[str, Callable[..., Any]]) -> dict[str, Answer]:
    """By node. `own`: the user's functions, by name."""
    nodes = {node["id"]: node for node in request["dag"]["nodes"]}
    found: dict[str, Answer] = {}
    for node_id, node in nodes.items():  # parents stand before their children
        parents = [a for a, b in request["dag"]["edges"] if b == node_id]
        if "join_with" in node:
            parents = [*(p for p in parents if p != node["join_with"]), node["join_with"]]
        sides = [found[parent] for parent in parents]
        rows = _rows(
            node, [side.rows for side in sides], nodes.get(parents[0]) if parents else {}, own
        )
        is_known = all(side.is_known for side in sides)
        loose = node["op"] == "take" or (node["op"] == "sample" and 0 < node["fraction"] < 1)
        found[node_id] = Answer(rows, is_known and not loose)
    return found


def _rows(node: Node, sides: list[list[Row]], parent: Node, own: dict[str, Any]) -> list[Row]:
    op = node["op"]
    if op.startswith("read_"):
        return _read(node)
    if op.endswith("join"):
        return _join(op, *sides)
    rows = [row for side in sides for row in side]
    if node.get("key") and parent["op"] in ("read_csv", "read_jsonl"):
        rows = _columns(node, parent, rows)
    if op in ("map", "filter", "flat_map"):
        return [made for key, value in rows for made in _narrow(node, key, value, own)]
    if op in ("reduce_by_key", "group_by_key"):
        return _by_key(node, rows, own)
    if op == "distinct":
        return [json_row(row) for row in dict.fromkeys(json.dumps(row) for row in rows)]
    if op in ("take", "sample"):
        return rows if node.get("fraction", 1) > 0 else []
    return rows  # union, sort_by_key, shuffle_write, shuffle_read, write_...


def json_row(line: str) -> Row:
    key, value = json.loads(line)
    return key, value


def _read(node: Node) -> list[Row]:
    raw = Path(node["path"]).read_bytes().decode()
    lines = raw.split("\n")[:-1]
    if node["op"] == "read_text":
        return [(None, line.removesuffix("\r")) for line in lines]
    if node["op"] == "read_jsonl":
        return [(json.loads(line).get("key"), line) for line in lines]
    rows, row = [], ""
    for line in lines[1:]:
        row += line
        if row.count('"') % 2 == 0:
            rows.append((None, row))
            row = ""
        else:
            row += "\n"
    return [row for row in rows if row[1]]


def _columns(node: Node, parent: Node, rows: list[Row]) -> list[Row]:
    made: list[Row] = []
    for _, row in rows:
        if parent["op"] == "read_csv":
            header = Path(parent["path"]).read_text().split("\n", 1)[0].split(",")
            cells = dict(zip(header, next(csv.reader([row])), strict=True))
        else:
            cells = {name: text(value) for name, value in json.loads(row).items()}
        default = "1" if node["op"] == "reduce_by_key" else row
        made.append((cells[node["key"]], cells[node["value"]] if "value" in node else default))
    return made


def _join(op: str, left: list[Row], right: list[Row]) -> list[Row]:
    lefts, rights = {key for key, _ in left}, {key for key, _ in right}
    rows: list[Row] = [
        (key, f"({text(a)},{text(b)})") for key, a in left for other, b in right if key == other
    ]
    if op in ("left_outer_join", "full_outer_join"):
        rows += [(key, f"({text(a)},null)") for key, a in left if key not in rights]
    if op in ("right_outer_join", "full_outer_join"):
        rows += [(key, f"(null,{text(b)})") for key, b in right if key not in lefts]
    return rows


def _narrow(node: Node, key: str | None, value: Any, own: dict[str, Any]) -> list[Row]:
    name = node["expr"] if "expr" in node else node["fn"]
    if name in own:
        made = own[name](key, value)
        if node["op"] == "filter":
            return [(key, value)] if made else []
        results = [made] if node["op"] == "map" else list(made)
        return [one if isinstance(one, tuple) else (key, one) for one in results]
    named: dict[str, Callable[[str], list[Row]]] = {
        "identity": lambda t: [(key, value)],
        "to_lower": lambda t: [(key, t.lower())],
        "to_upper": lambda t: [(key, t.upper())],
        "pair_with_one": lambda t: [(t, "1")],
        "extract_key": lambda t: [(t.partition(",")[0], t.partition(",")[2])],
        "not_empty": lambda t: [(key, value)] if t else [],
        "is_long": lambda t: [(key, value)] if len(t) > 5 else [],
        "has_key": lambda t: [(key, value)] if key is not None else [],
        "split_words": lambda t: [(key, word) for word in t.split()],
        "split_chars": lambda t: [(key, char) for char in t],
        "split_lines": lambda t: [(key, line) for line in _lines(t)],
    }
    return named[name](text(value))


def _lines(value: str) -> list[str]:
    parts = value.replace("\r\n", "\n").split("\n")
    return parts[:-1] if parts[-1] == "" else parts


def _by_key(node: Node, rows: list[Row], own: dict[str, Any]) -> list[Row]:
    fn = node.get("fn", "sum") if node["op"] == "reduce_by_key" else "collect"
    one: Any = 1 if fn in own else "1"
    groups: dict[str, list[Any]] = {}
    for key, value in rows:
        if key is None:
            key, value = text(value), one
        groups.setdefault(key, []).append(value)
    if fn in own:
        return [(key, reduce(own[fn], values)) for key, values in groups.items()]
    return [(key, _reduced(fn, values)) for key, values in groups.items()]


def _reduced(fn: str, values: list[Any]) -> Any:
    texts = list(map(text, values))
    match fn:
        case "collect":
            return values
        case "count":
            return str(len(texts))
        case "concat":
            return ",".join(texts)
        case "sum":
            total = sum(map(Decimal, texts))
            return format(total, "f") if total else format(abs(total), "f")
        case "avg":
            return repr(float(sum(map(Fraction, texts)) / len(texts)))
        case "min":
            return min(texts, key=lambda t: (Fraction(t), t))
        case _:
            best = max(map(Fraction, texts))
            return min(t for t in texts if Fraction(t) == best)


def bag(rows: list[Row], node: Node) -> Counter[str]:
    """The records of a leaf, whatever their order, and that of what it put together."""
    if node["op"] == "group_by_key":
        rows = [(key, sorted(map(text, values))) for key, values in rows]
    elif node.get("fn") == "concat":
        rows = [(key, "".join(sorted(value))) for key, value in rows]
    return Counter(json.dumps(row, sort_keys=True) for row in rows)
