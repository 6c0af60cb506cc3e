"""The user's own functions as tasks call them: `module:function`, and expressions.

What they raise becomes an error that begins with the user's file and line. Must not know batches,
nor where modules come from.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from minispark.compute.inlining import Inline, inline_expression, inline_function
from minispark.errors import TaskError
from minispark.model.expressions import FUNCTIONS, parse_expression
from minispark.model.function_names import EXPRESSION

TRACEBACK_LINES_MAX = 40
SHOWN_CHARS_MAX = 200

_EXPRESSION_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": lambda text, part: part in text,
    "ends_with": lambda text, part: text.endswith(part),
    "join": lambda separator, parts: separator.join(parts),
    "lower": lambda text: text.lower(),
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, *separator: text.split(*separator),
    "starts_with": lambda text, part: text.startswith(part),
    "strip": lambda text: text.strip(),
    "upper": lambda text: text.upper(),
}


NO_SOURCES: Mapping[str, str] = {}


class UserFunction:
    """One function of the user's. `arity` is how many of (key, value), or of (a, b), it takes."""

    def __init__(
        self, name: str, call: Callable[..., Any], arity: int, inline: Inline | None = None
    ) -> None:
        """`inline`: the function as an expression of as many parameters, if it is one."""
        self.name = name
        self.call = call
        self.arity = arity
        self.inline = inline


class UserFunctions:
    """Finds the functions that a task's steps name."""

    def __init__(
        self,
        find: Callable[[str], Callable[..., Any]] | None = None,
        sources: Mapping[str, str] = NO_SOURCES,
    ) -> None:
        """`find`: what `module:function` names; None where there are no modules. `sources`: of the
        modules, by name.
        """
        self._find = find
        self._sources = sources

    def function(self, op: str, name: str) -> UserFunction:
        """What a node of operator `op` calls by that name. Raises TaskError."""
        names = ("a", "b") if op == "reduce_by_key" else ("key", "value")
        if name.startswith(EXPRESSION):
            return _expression(name.removeprefix(EXPRESSION), names)
        if self._find is None:
            raise TaskError(f"{name} was sent without its module")
        call = self._find(name)
        arity = 2 if op == "reduce_by_key" else _arity(call)
        inline = inline_function(call, self._sources)
        if inline is not None and len(inline.parameters) != arity:
            inline = None  # to call it is an error, which the call describes
        return UserFunction(name, call, arity, inline)


def _arity(call: Callable[..., Any]) -> int:
    """1: called with the value; 2: with key and value."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return 1  # a builtin that does not say
    required = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    return 2 if len(required) == 2 else 1


def _expression(text: str, names: tuple[str, ...]) -> UserFunction:
    """The expression as a function of `names`; its scope holds FUNCTIONS and nothing else."""
    scope: dict[str, Any] = {"__builtins__": {}}
    for name in FUNCTIONS:
        scope[name] = _EXPRESSION_FUNCTIONS.get(name) or getattr(builtins, name)
    parameters = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])
    body = parse_expression(text, names).body
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(parameters, body)))
    call = eval(compile(tree, "<expr>", "eval"), scope)
    return UserFunction(f"{EXPRESSION}{text}", call, 2, inline_expression(body, names, scope))


@contextmanager
def user_errors(name: str, record: Callable[[], str] | None) -> Iterator[None]:
    """Turns what the user's code raises into a TaskError that begins with their file and line."""
    try:
        yield
    except TaskError:
        raise
    except (Exception, SystemExit) as error:
        raise TaskError(describe(name, error, record)) from error


def describe(name: str, error: BaseException, record: Callable[[], str] | None) -> str:
    """The user's file and line first, then the traceback of their own frames, then the record."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_users_file(f.filename)]
    last = frames[-1] if frames else None
    where = f"{last.filename}, line {last.lineno}, in {last.name}" if last is not None else name
    what = "".join(traceback.format_exception_only(error)).strip()
    lines = [f"{where}: {what}", "Traceback (most recent call last):"]
    lines += "".join(traceback.format_list(frames)).rstrip().splitlines()[-TRACEBACK_LINES_MAX:]
    lines.append(what)
    if record is not None:
        lines.append(f"the record: {record()}")
    return "\n".join(lines)


def is_users_file(filename: str) -> bool:
    return filename == "<expr>" or not filename.startswith(("/", "<"))


def shown(value: Any) -> str:
    """A value for people, whatever its class says of itself."""
    try:
        return repr(value)[:SHOWN_CHARS_MAX]
    except Exception:
        return f"<a {type(value).__name__}>"
