"""A JobRequest from decoded JSON: types and limits, field by field. Source: API.md, "Types".

Whether the request makes sense is `validation.py`'s business. Must not know HTTP.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from minispark.errors import InvalidRequest
from minispark.model.function_names import ALIASES
from minispark.model.job import Dag, DagNode, Engine, JobRequest, PlanKind, ReaderOptions

NODES_MAX = 256
EDGES_MAX = 2 * NODES_MAX
NAME_CHARS_MAX = 200
PATH_CHARS_MAX = 16_384
"""Room for several paths in one."""
PARTITIONS_MAX = 10_000
WHOLE_MAX = 2**53
SHOWN_CHARS_MAX = 40
TIMEOUT_S_MAX = 30 * 24 * 3600.0

MODULES_MAX = 32
MODULE_BYTES_MAX = 256 * 1024
"""Of all sources together: they travel with every message that launches a stage."""

_REQUEST_FIELDS = ("name", "dag", "parallelism", "plan", "engine", "timeout_s", "modules")
_DAG_FIELDS = ("nodes", "edges")
_NODE_FIELDS = (
    "id", "op", "path", "partitions", "fn_name", "fn", "key", "join_with", "value", "encoding",
    "errors", "on_error", "multiline", "expr", "n", "fraction", "seed",
    "ascending", "cache",
)  # fmt: skip


def parse_request(data: Any) -> JobRequest:
    """The request. Raises InvalidRequest that names the field. Unknown fields become warnings."""
    request = _object(data, None)
    warnings: list[str] = []
    _warn_unknown(request, _REQUEST_FIELDS, "", warnings)
    dag = _object(_required(request, "dag", ""), "dag")
    _warn_unknown(dag, _DAG_FIELDS, "dag.", warnings)
    nodes = _list(_required(dag, "nodes", "dag."), "dag.nodes", NODES_MAX)
    edges = _list(_required(dag, "edges", "dag."), "dag.edges", EDGES_MAX)
    plan = _optional(request, "plan", "", str)
    if plan not in (None, "naive", "fused"):
        raise InvalidRequest(f"plan is naive or fused, not {plan!r}", "plan")
    engine = _optional(request, "engine", "", str)
    if engine not in (None, "local", "spark"):
        raise InvalidRequest(f"engine is local or spark, not {engine!r}", "engine")
    return JobRequest(
        name=_text(request, "name", "", NAME_CHARS_MAX),
        dag=Dag(
            tuple(_node(node, f"dag.nodes[{i}]", warnings) for i, node in enumerate(nodes)),
            tuple(_edge(edge, f"dag.edges[{i}]") for i, edge in enumerate(edges)),
        ),
        parallelism=_count(_required(request, "parallelism", ""), "parallelism"),
        plan=None if plan is None else PlanKind(plan),
        engine=None if engine is None else Engine(engine),
        timeout_s=_timeout(request.get("timeout_s")),
        modules=_modules(request.get("modules")),
        warnings=tuple(warnings),
    )


def _node(data: Any, at: str, warnings: list[str]) -> DagNode:
    node = _object(data, at)
    at += "."
    _warn_unknown(node, _NODE_FIELDS, at, warnings)
    partitions = node.get("partitions")
    fn_name = _optional(node, "fn_name", at, str)
    fn = _optional(node, "fn", at, str)
    if fn_name is not None and fn is not None and fn != fn_name:
        raise InvalidRequest(f"fn and fn_name differ: {fn!r}, {fn_name!r}", f"{at}fn")
    fn = fn_name if fn is None else fn
    path = _optional(node, "path", at, str)
    if path is not None and (len(path) > PATH_CHARS_MAX or "\0" in path):
        raise InvalidRequest(
            f"a path has at most {PATH_CHARS_MAX} characters, none NUL", f"{at}path"
        )
    multiline = _optional(node, "multiline", at, bool)
    return DagNode(
        id=_text(node, "id", at, NAME_CHARS_MAX),
        op=_text(node, "op", at, NAME_CHARS_MAX),
        path=path,
        partitions=None if partitions is None else _count(partitions, f"{at}partitions"),
        fn_name=None if fn is None else ALIASES.get(fn, fn),
        key=_optional(node, "key", at, str),
        join_with=_optional(node, "join_with", at, str),
        value=_optional(node, "value", at, str),
        expr=_optional(node, "expr", at, str),
        ascending=_optional(node, "ascending", at, bool) is not False,
        n=_whole(node.get("n"), f"{at}n"),
        fraction=_fraction(node.get("fraction"), f"{at}fraction"),
        seed=_whole(node.get("seed"), f"{at}seed") or 0,
        cache=_optional(node, "cache", at, bool) is True,
        reader=ReaderOptions(
            encoding=_optional(node, "encoding", at, str) or "utf-8",
            errors=_choice(node, "errors", at, ("strict", "replace")),
            on_error=_choice(node, "on_error", at, ("fail", "skip")),
            multiline=bool(multiline),
        ),
    )


def _modules(data: Any) -> tuple[tuple[str, str], ...]:
    if data is None:
        return ()
    modules = _object(data, "modules")
    if len(modules) > MODULES_MAX:
        raise InvalidRequest(f"a job has at most {MODULES_MAX} modules", "modules")
    for name, source in modules.items():
        if not isinstance(source, str):
            at = f"modules.{name[:NAME_CHARS_MAX]}"
            raise InvalidRequest(f"a module is its source as a string, not {_kind(source)}", at)
    size = sum(len(source.encode(errors="replace")) for source in modules.values())
    if size > MODULE_BYTES_MAX:
        most = f"{MODULE_BYTES_MAX >> 10} KiB"
        raise InvalidRequest(f"modules are {size} bytes of source; the limit is {most}", "modules")
    return tuple(sorted(modules.items()))


def _edge(data: Any, at: str) -> tuple[str, str]:
    if not isinstance(data, list) or len(data) != 2 or not all(isinstance(e, str) for e in data):
        raise InvalidRequest('an edge is ["from", "to"], two node ids', at)
    return data[0], data[1]


def _object(data: Any, at: str | None) -> dict[str, Any]:
    if not isinstance(data, dict):
        what = at or "the request"
        raise InvalidRequest(f"{what} must be a JSON object, not {_kind(data)}", at)
    return data


def _list(data: Any, at: str, most: int) -> list[Any]:
    if not isinstance(data, list):
        raise InvalidRequest(f"{at} must be a list, not {_kind(data)}", at)
    if len(data) > most:
        raise InvalidRequest(f"{at} has {len(data)} entries; the limit is {most}", at)
    return data


def _required(data: dict[str, Any], name: str, at: str) -> Any:
    if name in data and data[name] is None:
        raise InvalidRequest(f"{at}{name} is null; it needs a value", f"{at}{name}")
    if name not in data:
        near = get_close_matches(name, data, 1)
        hint = f"; is {near[0]!r} meant to be it?" if near else ""
        raise InvalidRequest(f"{at}{name} is missing{hint}", f"{at}{name}")
    return data[name]


def _text(data: dict[str, Any], name: str, at: str, most: int) -> str:
    value = _required(data, name, at)
    if not isinstance(value, str):
        raise InvalidRequest(f"{at}{name} must be a string, not {_kind(value)}", f"{at}{name}")
    if not value or len(value) > most:
        raise InvalidRequest(f"{at}{name} has 1 to {most} characters", f"{at}{name}")
    return value


def _optional(data: dict[str, Any], name: str, at: str, kind: type) -> Any:
    value = data.get(name)
    if value is not None and type(value) is not kind:
        wanted = {"str": "a string", "bool": "true or false"}[kind.__name__]
        raise InvalidRequest(f"{at}{name} must be {wanted}, not {_kind(value)}", f"{at}{name}")
    return value


def _choice(data: dict[str, Any], name: str, at: str, allowed: tuple[str, str]) -> str:
    value: str = _optional(data, name, at, str) or allowed[0]
    if value not in allowed:
        raise InvalidRequest(f"{at}{name} is {' or '.join(allowed)}, not {value!r}", f"{at}{name}")
    return value


def _count(value: Any, at: str) -> int:
    if type(value) is not int or not 1 <= value <= PARTITIONS_MAX:
        shown = str(value)[:SHOWN_CHARS_MAX] if type(value) in (int, float) else _kind(value)
        raise InvalidRequest(f"{at} is a whole number from 1 to {PARTITIONS_MAX}, not {shown}", at)
    return value


def _whole(value: Any, at: str) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= WHOLE_MAX):
        shown = str(value)[:SHOWN_CHARS_MAX] if type(value) in (int, float) else _kind(value)
        raise InvalidRequest(f"{at} is a whole number from 0 to {WHOLE_MAX}, not {shown}", at)
    return value


def _fraction(value: Any, at: str) -> float | None:
    if value is not None and (type(value) not in (int, float) or not 0 <= value <= 1):
        shown = str(value)[:SHOWN_CHARS_MAX] if type(value) in (int, float) else _kind(value)
        raise InvalidRequest(f"{at} is a number from 0 to 1, not {shown}", at)
    return None if value is None else float(value)


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    # NaN and infinity compare as false; a whole number may be too large to become a float
    if type(value) not in (int, float) or not 0 < value <= TIMEOUT_S_MAX:
        raise InvalidRequest(
            f"timeout_s is a number of seconds up to {TIMEOUT_S_MAX:g}", "timeout_s"
        )
    return float(value)


def _warn_unknown(
    data: dict[str, Any], known: tuple[str, ...], at: str, warnings: list[str]
) -> None:
    for name in data:
        if name not in known and len(warnings) < NODES_MAX:
            near = get_close_matches(name, known, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            warnings.append(f"{at}{name[:NAME_CHARS_MAX]} is unknown and was ignored{hint}")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return names.get(
        type(value), "null" if value is None else f"the number {str(value)[:SHOWN_CHARS_MAX]}"
    )
