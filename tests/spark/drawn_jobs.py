"""Random valid jobs over small inputs: every operator, reader and reducer, functions of the user's.

A job has several leaves, as Spark takes seconds where the local engine takes milliseconds.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.jobs import job

OWN_SOURCE = """
from decimal import Decimal

def twice(value):
    yield value
    yield f"{value}!"

def tagged(key, value):
    return key, f"{key}\\u2192{value}"

def sizes(value):
    return {"n": len(value), "first": value[:1]}

def ordered(value):
    return "".join(sorted(str(value)))

def is_even(value):
    return len(str(value)) % 2 == 0

def plus(a, b):
    return str(Decimal(a) + Decimal(b))
"""
_scope: dict[str, Any] = {}
exec(OWN_SOURCE, _scope)

OWN: dict[str, Callable[..., Any]] = {
    "own:twice": lambda key, value: _scope["twice"](value),
    "own:tagged": _scope["tagged"],
    "own:sizes": lambda key, value: _scope["sizes"](value),
    "own:ordered": lambda key, value: _scope["ordered"](value),
    "own:is_even": lambda key, value: _scope["is_even"](value),
    "own:plus": _scope["plus"],
    "len(value)": lambda key, value: len(value),
    "lower(value) + '.'": lambda key, value: value.lower() + ".",
    "len(value) > 1": lambda key, value: len(value) > 1,
    "'a' in value": lambda key, value: "a" in value,
    "key != 'a'": lambda key, value: key != "a",
}
"""What the package calls by these names, as functions of key and value, or of two values."""

WORDS = [
    "a",
    "b",
    "",
    "ab c",
    "Ünï",
    "日本",
    "🦉 x",
    "a,b",
    'say "a"',
    "\u2028",
    "é",
    "A  b",
    "x\ty",
]
WORD = st.sampled_from(WORDS)
NUMBER = st.integers(-50, 50).map(str) | st.sampled_from(["1.5", "-0.25", "0.0", "12345678901"])
LINES = st.lists(WORD | st.builds("{},{}".format, WORD, WORD), max_size=8)
TABLE = st.lists(st.tuples(WORD, NUMBER, WORD | st.just("two\nlines")), max_size=8)


@dataclass(frozen=True)
class Made:
    """A node, and what is known of its records."""

    id: str
    kind: str
    """Of values: `text`, `number` (a number, or its text), `json`, or `parts`: put together in an
    order that nobody promised.
    """
    is_keyed: bool


class Drawing:
    """A job while it is drawn."""

    def __init__(self, data: st.DataObject, folder: Path) -> None:
        self._data = data
        self._folder = folder
        self._nodes: list[dict[str, Any]] = []
        self._edges: list[list[str]] = []
        self._made: list[Made] = []

    def request(self) -> dict[str, Any]:
        for _ in range(self._draw(st.integers(2, 3))):
            self._read()
        for _ in range(self._draw(st.integers(5, 11))):
            self._operator()
        request = job(self._nodes, self._draw(st.integers(1, 3)), edges=self._edges)
        return {**request, "modules": {"own": OWN_SOURCE}}

    def _draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self._data.draw(strategy)

    def _node(self, op: str, kind: str, is_keyed: bool, parents: list[Made], **more: Any) -> Made:
        made = Made(f"n{len(self._nodes)}", kind, is_keyed)
        if not op.startswith("write_") and self._draw(st.integers(0, 7)) == 0:
            more["cache"] = True
        self._nodes.append({"id": made.id, "op": op, **more})
        self._edges += [[parent.id, made.id] for parent in parents]
        self._made.append(made)
        return made

    # --- readers ---------------------------------------------------------------------------

    def _read(self) -> None:
        op = self._draw(st.sampled_from(["read_text", "read_csv", "read_jsonl"]))
        path = self._folder / f"in{len(self._nodes)}"
        more: dict[str, Any] = {"path": str(path)}
        if op == "read_text":
            path.write_text("".join(f"{line}\n" for line in self._draw(LINES)), newline="")
            self._node(op, "text", False, [], **more)
            return
        rows = self._draw(TABLE)
        if op == "read_jsonl":
            objects = [{"key": k, "n": json.loads(n), "text": t} for k, n, t in rows]
            lines = [json.dumps(o, ensure_ascii=False) for o in objects]
            path.write_text("".join(f"{line}\n" for line in lines))
            reader = self._node(op, "text", True, [], **more)
        else:
            file = io.StringIO()
            csv.writer(file, lineterminator="\n").writerows([("k", "n", "text"), *rows])
            path.write_text(file.getvalue(), newline="")
            if "\n" in "".join(text for _, _, text in rows):
                more["multiline"] = True
            reader = self._node(op, "text", False, [], **more)
        if self._draw(st.booleans()):
            return
        column = "key" if op == "read_jsonl" else "k"
        fn, kind = self._reducer("number")
        self._node("reduce_by_key", kind, True, [reader], key=column, value="n", **fn)

    # --- operators -------------------------------------------------------------------------

    def _operator(self) -> None:
        parent = self._draw(st.sampled_from(self._made))
        choices = [self._narrow, self._by_key, self._rows, self._shuffle]
        if parent.kind == "parts":
            choices = [self._narrow]
        elif parent.is_keyed:
            choices += [self._join, self._sort, self._union]
        else:
            choices += [self._union, self._key]
        self._draw(st.sampled_from(choices))(parent)

    def _key(self, parent: Made) -> None:
        fn = self._draw(st.sampled_from(["extract_key", "pair_with_one"]))
        kind = "number" if fn == "pair_with_one" else "text"
        self._node("map", kind, True, [parent], fn=fn)

    def _narrow(self, parent: Made) -> None:
        kind, keyed = parent.kind, parent.is_keyed
        choices: list[tuple[str, dict[str, str], str, bool]] = [
            ("map", {"fn": "own:ordered"}, "text", keyed)
        ]
        if kind in ("text", "parts"):
            choices.append(("map", {"expr": "len(value)"}, "number", keyed))
        if kind == "text":
            choices += [
                ("map", {"fn": "own:sizes"}, "json", keyed),
                ("map", {"expr": "lower(value) + '.'"}, kind, keyed),
                ("filter", {"expr": "len(value) > 1"}, kind, keyed),
                ("filter", {"expr": "'a' in value"}, kind, keyed),
            ]
        if kind != "parts":
            choices += [("map", {"fn": fn}, "text", keyed) for fn in ("to_lower", "to_upper")]
            choices += [("filter", {"fn": fn}, kind, keyed) for fn in ("not_empty", "is_long")]
            choices += [("filter", {"fn": "has_key"}, kind, keyed)]
            choices += [("filter", {"fn": "own:is_even"}, kind, keyed)]
            choices += [("filter", {"expr": "key != 'a'"}, kind, keyed)]
            choices += [
                ("flat_map", {"fn": fn}, "text", keyed)
                for fn in ("split_words", "split_chars", "split_lines", "own:twice")
            ]
            choices += [("map", {"fn": "identity"}, kind, keyed)]
        if keyed and kind != "parts":
            choices.append(("map", {"fn": "own:tagged"}, "text", True))
        op, fn, made, is_keyed = self._draw(st.sampled_from(choices))
        self._node(op, made, is_keyed, [parent], **fn)

    def _reducer(self, kind: str) -> tuple[dict[str, str], str]:
        choices = [("count", "number"), ("concat", "parts")]
        if kind == "number":
            choices += [("sum", "number"), ("min", "number"), ("max", "number"), ("avg", "text")]
            choices += [("own:plus", "text")]
        fn, made = self._draw(st.sampled_from(choices))
        return {"fn": fn}, made

    def _by_key(self, parent: Made) -> None:
        partitions = {"partitions": self._draw(st.integers(1, 3))}
        if parent.is_keyed and self._draw(st.booleans()):
            self._node("group_by_key", "parts", True, [parent], **partitions)
            return
        # records without a key are counted: 1 each
        fn, kind = self._reducer(parent.kind if parent.is_keyed else "number")
        self._node("reduce_by_key", kind, True, [parent], **fn, **partitions)

    def _rows(self, parent: Made) -> None:
        kind, keyed = parent.kind, parent.is_keyed
        match self._draw(st.sampled_from(["distinct", "take", "sample"])):
            case "distinct":
                self._node("distinct", kind, keyed, [parent])
            case "take":
                self._node("take", kind, keyed, [parent], n=self._draw(st.integers(0, 5)))
            case _:
                fraction = self._draw(st.sampled_from([0.0, 0.5, 1.0]))
                self._node("sample", kind, keyed, [parent], fraction=fraction, seed=3)

    def _shuffle(self, parent: Made) -> None:
        made = self._node("shuffle_write", parent.kind, parent.is_keyed, [parent])
        self._made.remove(made)  # nobody else may read it
        self._node("shuffle_read", made.kind, made.is_keyed, [made])

    def _join(self, parent: Made) -> None:
        others = [made for made in self._made if made.is_keyed and made.kind != "parts"]
        other = self._draw(st.sampled_from([made for made in others if made != parent] or [parent]))
        if other == parent:
            other = self._node("map", parent.kind, True, [parent], fn="identity")
        op = self._draw(
            st.sampled_from(["join", "left_outer_join", "right_outer_join", "full_outer_join"])
        )
        parts = self._draw(st.integers(1, 3))
        self._node(op, "text", True, [parent, other], join_with=other.id, partitions=parts)

    def _sort(self, parent: Made) -> None:
        more = {"ascending": self._draw(st.booleans()), "partitions": self._draw(st.integers(1, 3))}
        self._node("sort_by_key", parent.kind, True, [parent], **more)

    def _union(self, parent: Made) -> None:
        alike = [
            made
            for made in self._made
            if made != parent and made.is_keyed is parent.is_keyed and made.kind != "parts"
        ]
        if not alike:
            return
        other = self._draw(st.sampled_from(alike))
        kind = parent.kind if parent.kind == other.kind else "mixed"
        self._node("union", kind, parent.is_keyed, [parent, other])
