"""The user's own functions, checked before anything runs: on the syntax tree of their modules.

Nothing is executed or compiled here. Every error names the field, and the line in the module.
Must not know how a function is called.
"""

from __future__ import annotations

import ast
import sys
from difflib import get_close_matches
from typing import TypeAlias

from minispark.errors import InvalidRequest
from minispark.model.expressions import parse_expression
from minispark.model.function_names import EXPRESSION
from minispark.model.job import DagNode, JobRequest

_RESERVED = ("minispark", "expr", "__main__")
PARAMETERS = {
    "map": (1, 2),
    "filter": (1, 2),
    "flat_map": (1, 2),
    "reduce_by_key": (2, 2),
}
"""How many positional parameters a function of an operator takes: at least, at most."""
NAMES = {
    "map": ("key", "value"),
    "filter": ("key", "value"),
    "flat_map": ("key", "value"),
    "reduce_by_key": ("a", "b"),
}
"""What an expression of an operator may name."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Modules:
    """The modules of one request, parsed."""

    def __init__(self, request: JobRequest) -> None:
        """Raises InvalidRequest for a bad name or syntax."""
        self._bodies: dict[str, list[ast.stmt]] = {}
        for name, source in request.modules:
            self._bodies[name] = _parse(name, source)

    def check(self, node: DagNode, at: str) -> str | None:
        """The user's function of a node, checked; None where it has none of its own."""
        if node.expr is not None:
            return _check_expression(node, f"{at}.expr")
        if node.fn_name is None or ":" not in node.fn_name:
            return None
        self._check_function(node, node.fn_name, f"{at}.fn")
        return node.fn_name

    def _check_function(self, node: DagNode, fn_name: str, at: str) -> None:
        if node.op not in PARAMETERS:
            raise InvalidRequest(f"{node.op} takes no function", at)
        module, _, name = fn_name.partition(":")
        body = self._bodies.get(module)
        if body is None:
            known = f"; there are {', '.join(self._bodies)}" if self._bodies else ""
            raise InvalidRequest(
                f"{fn_name!r} names the module {module!r}, which is not in modules{known}; "
                "submit it with --module",
                at,
            )
        found = _top_level(body)
        if name not in found:
            near = get_close_matches(name, found, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidRequest(f"{module}.py defines no {name!r}{hint}", at)
        function = found[name]
        if function is not None:
            _check_parameters(node.op, f"{module}.py, line {function.lineno}", name, function, at)


def _parse(name: str, source: str) -> list[ast.stmt]:
    at = f"modules.{name}"
    if not (name.isascii() and name.isidentifier()):
        raise InvalidRequest(f"a module's name is a Python identifier, not {name[:100]!r}", at)
    if name in _RESERVED or name in sys.stdlib_module_names:
        raise InvalidRequest(f"{name!r} is the name of another module: choose another one", at)
    try:
        return ast.parse(source, f"{name}.py").body
    except SyntaxError as error:
        where = f"{name}.py, line {error.lineno}"
        raise InvalidRequest(f"{where}: {error.msg}", at) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidRequest(f"{name}.py cannot be parsed: {error}", at) from error


def _top_level(body: list[ast.stmt]) -> dict[str, Function | None]:
    """What a module defines, by name; None for what is no function at first sight."""
    found: dict[str, Function | None] = {}
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = None if statement.decorator_list else statement
            case ast.ClassDef(name=name):
                found[name] = None
            case ast.Assign(targets=targets, value=value):
                function = value if isinstance(value, ast.Lambda) else None
                for target in targets:
                    if isinstance(target, ast.Name):
                        found[target.id] = function
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = None
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for alias in names:
                    found[(alias.asname or alias.name).partition(".")[0]] = None
            case ast.If() | ast.Try() | ast.With():
                for inner in ast.walk(statement):
                    if isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
                        found[inner.name] = None
    return found


def _check_parameters(op: str, where: str, name: str, function: Function, at: str) -> None:
    if isinstance(function, ast.AsyncFunctionDef):
        raise InvalidRequest(f"{where}: {name} is async; a job's functions are plain ones", at)
    arguments = function.args
    most = len(arguments.posonlyargs) + len(arguments.args)
    least = most - len(arguments.defaults)
    low, high = PARAMETERS[op]
    required_keywords = [
        a for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None
    ]
    is_callable = not required_keywords and least <= high
    if not is_callable or (arguments.vararg is None and most < low):
        wanted = "(a, b)" if op == "reduce_by_key" else "(value) or (key, value)"
        raise InvalidRequest(
            f"{where}: {name} takes {least if least == most else f'{least} to {most}'} arguments; "
            f"a function of {op} takes {wanted}",
            at,
        )


def _check_expression(node: DagNode, at: str) -> str:
    assert node.expr is not None
    if node.op not in NAMES:
        raise InvalidRequest(f"{node.op} takes no expression", at)
    if node.fn_name is not None:
        raise InvalidRequest("a node has fn or expr, not both", at)
    parse_expression(node.expr, NAMES[node.op], at)
    return f"{EXPRESSION}{node.expr}"
