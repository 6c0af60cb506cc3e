"""A function of the user's that is a few assignments and `return EXPRESSION`, as those.

Written into a generated loop it costs no call, and often tells what type it gives. Only where that
changes nothing: its parameters are plain, and every other name in it has one value for good. Must
not know loops.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import FunctionType
from typing import Any

_NODES = (
    ast.expr_context,
    ast.boolop,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.keyword,
    ast.Constant,
    ast.Name,
    ast.Call,
    ast.Attribute,
    ast.BoolOp,
    ast.UnaryOp,
    ast.BinOp,
    ast.Compare,
    ast.IfExp,
    ast.Tuple,
    ast.List,
    ast.Dict,
    ast.Set,
    ast.Subscript,
    ast.Slice,
    ast.JoinedStr,
    ast.FormattedValue,
)
"""No lambda, comprehension or `:=`: these have names of their own."""
_SEES_ITS_FRAME = frozenset(
    ("locals", "globals", "vars", "dir", "eval", "exec", "super", "breakpoint", "__import__")
)
_TEXT_METHODS = frozenset(("lower", "upper", "casefold", "strip", "lstrip", "rstrip", "replace"))
MODULES_CACHED = 32


@dataclass(frozen=True, slots=True)
class Inline:
    """`body` says `parameters`, names that `assignments` gave a value, and names in `scope`."""

    parameters: tuple[str, ...]
    assignments: tuple[tuple[str, ast.expr], ...]
    """In order; each may say the names before it."""
    body: ast.expr
    scope: Mapping[str, Any]

    def placed(
        self, arguments: tuple[str, ...], kinds: tuple[type | None, ...], prefix: str
    ) -> Placed:
        """It with these arguments, each a name or a subscript of such a type, if that is known, and
        with every other name behind the prefix.
        """
        placed = Placed(
            dict(zip(self.parameters, arguments, strict=True))
            | {name: f"{prefix}{name}" for name in self.scope},
            dict(zip(self.parameters, kinds, strict=True)),
            self.scope,
            self.body,
        )
        for name, value in self.assignments:
            # a parameter that is assigned to is another variable from then on
            placed.lines.append(f"{prefix}{name} = {placed.text(value)}")
            placed.kinds[name] = placed.kind(value)
            placed.names[name] = f"{prefix}{name}"
        return placed


@dataclass(slots=True)
class Placed:
    """An inlined function at its place in a loop."""

    names: dict[str, str]
    """What its names are called there."""
    kinds: dict[str, type | None]
    """Types of its parameters and variables, as far as they are known."""
    scope: Mapping[str, Any]
    body: ast.expr
    """What it gives, after its assignments."""
    lines: list[str] = field(default_factory=list)
    """Its assignments."""

    @property
    def pair(self) -> tuple[ast.expr, ast.expr] | None:
        """The halves of its body, where that is written as a pair."""
        match self.body:
            case ast.Tuple(elts=[key, value]):
                return key, value
            case _:
                return None

    def text(self, part: ast.expr) -> str:
        """A part of it as it is written there."""
        copy = ast.parse(ast.unparse(part), mode="eval").body
        return ast.unparse(_Renamer(self.names).visit(copy))

    def kind(self, part: ast.expr) -> type | None:
        """The type of what that part gives, where it follows."""
        return _kind(part, self.kinds, self.scope)

    def values(self) -> dict[str, Any]:
        """What the names of its scope are."""
        return {self.names[name]: value for name, value in self.scope.items()}


class _Renamer(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.parse(self._names[node.id], mode="eval").body


def inline_expression(
    body: ast.expr, parameters: tuple[str, ...], scope: Mapping[str, Any]
) -> Inline:
    """An expression that was checked: it says nothing but parameters and what is in the scope."""
    named = {node.id for node in ast.walk(body) if isinstance(node, ast.Name)}
    return Inline(parameters, (), body, {n: scope[n] for n in sorted(named & scope.keys())})


def inline_function(call: Callable[..., Any], sources: Mapping[str, str]) -> Inline | None:
    """The function as it may be written elsewhere; None where it may not. `sources`: of all modules
    of the job.
    """
    if type(call) is not FunctionType or call.__module__ not in sources:
        return None
    if call.__closure__ or call.__defaults__ or call.__kwdefaults__:
        return None
    module = _module(call.__module__, sources[call.__module__])
    node = module.functions.get((call.__name__, call.__code__.co_firstlineno))
    if node is None:
        return None
    arguments = node.args
    parameters = tuple(arg.arg for arg in (*arguments.posonlyargs, *arguments.args))
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
        return None
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    parts = _straight(body)
    if parts is None:
        return None
    assignments, expression = parts
    named: dict[str, None] = {}
    assigned = dict.fromkeys(parameters)
    for target, value in (*assignments, ("", expression)):
        if not all(isinstance(part, _NODES) for part in ast.walk(value)):
            return None
        found = [part.id for part in ast.walk(value) if isinstance(part, ast.Name)]
        named.update(dict.fromkeys(name for name in found if name not in assigned))
        assigned[target] = None
    if any(name in assigned for name in named):
        return None  # a variable is used before it has a value
    scope: dict[str, Any] = {}
    for name in sorted(named):
        if name in _SEES_ITS_FRAME or any(
            name in _module(n, source).rebound for n, source in sources.items()
        ):
            return None
        if name in call.__globals__ and module.bindings.get(name) == 1:
            scope[name] = call.__globals__[name]
        elif name not in call.__globals__ and hasattr(builtins, name):
            scope[name] = getattr(builtins, name)
        else:
            return None
    return Inline(parameters, assignments, expression, scope)


def _straight(
    body: list[ast.stmt],
) -> tuple[tuple[tuple[str, ast.expr], ...], ast.expr] | None:
    """The assignments to variables and what is returned after them, if there is nothing else."""
    assignments: list[tuple[str, ast.expr]] = []
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                assignments.append((name, value))
            case ast.Return(value=ast.expr() as expression):
                return tuple(assignments), expression
            case _:
                return None
    return None


@dataclass(frozen=True, slots=True)
class _Module:
    functions: Mapping[tuple[str, int], ast.FunctionDef]
    """Without decorators, by name and line."""
    bindings: Mapping[str, int]
    """How often a name is bound outside of functions."""
    rebound: frozenset[str]
    """Names that a function of it may bind anew: by `global`, or as a module's attribute."""


@lru_cache(MODULES_CACHED)
def _module(name: str, source: str) -> _Module:
    tree = ast.parse(source, f"{name}.py")
    functions = {
        (node.name, node.lineno): node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and not node.decorator_list
    }
    bindings: dict[str, int] = {}
    for bound in _bound_outside_functions(tree):
        bindings[bound] = bindings.get(bound, 0) + 1
    rebound: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Global(names=names):
                rebound += names
            case ast.Attribute(attr=attribute, ctx=ast.Store() | ast.Del()):
                rebound.append(attribute)
            case ast.Name(id="setattr" | "globals" | "exec" | "vars"):
                rebound += bindings
            case _:
                pass
    return _Module(functions, bindings, frozenset(rebound))


def _bound_outside_functions(node: ast.AST) -> list[str]:
    found: list[str] = []
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.append(name)
                continue
            case ast.ClassDef(name=name):
                found.append(name)
                continue
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found += [(alias.asname or alias.name).partition(".")[0] for alias in names]
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.append(name)
            case ast.ExceptHandler(name=str(name)):
                found.append(name)
            case _:
                pass
        found += _bound_outside_functions(child)
    return found


def _kind(
    body: ast.expr, known: Mapping[str, type | None], scope: Mapping[str, Any]
) -> type | None:
    """str, int or bool, or None for what is not known."""

    def kind(node: ast.expr) -> type | None:
        return _kind(node, known, scope)

    match body:
        case ast.Constant(value=value) if type(value) in (str, int, bool):
            return type(value)
        case ast.JoinedStr():
            return str
        case ast.Name(id=name):
            return known.get(name)
        case ast.Call(func=ast.Name(id="len"), args=[_], keywords=[]) if scope.get("len") is len:
            return int
        case ast.Call(func=ast.Attribute(value=text, attr=method)) if method in _TEXT_METHODS:
            return str if kind(text) is str else None
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            both = kind(left)
            return both if both in (str, int) and kind(right) is both else None
        case ast.BinOp(left=left, op=ast.Sub() | ast.Mult(), right=right):
            return int if kind(left) is int and kind(right) is int else None
        case ast.IfExp(body=one, orelse=other):
            both = kind(one)
            return both if kind(other) is both else None
        case _:
            return None
