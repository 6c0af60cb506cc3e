"""Small expressions such as ``len(value) > 3``: what one may say, checked on its syntax tree.

No attribute access, no names but those given, so that one can do nothing but compute. Must not
know what evaluates it.
"""

from __future__ import annotations

import ast

from minispark.errors import InvalidRequest

CHARS_MAX = 1000
FUNCTIONS = (
    "abs",
    "bool",
    "contains",
    "ends_with",
    "float",
    "int",
    "join",
    "len",
    "lower",
    "max",
    "min",
    "replace",
    "round",
    "sorted",
    "split",
    "starts_with",
    "str",
    "strip",
    "sum",
    "upper",
)
_NODES = (
    ast.Expression,
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.Call,
    ast.BoolOp,
    ast.boolop,
    ast.UnaryOp,
    ast.unaryop,
    ast.BinOp,
    ast.operator,
    ast.Compare,
    ast.cmpop,
    ast.IfExp,
    ast.Tuple,
    ast.List,
    ast.Dict,
    ast.Subscript,
    ast.Slice,
)


def parse_expression(text: str, names: tuple[str, ...], field: str | None = None) -> ast.Expression:
    """The expression's tree; it says nothing but `names` and FUNCTIONS.

    Raises InvalidRequest that names what is not allowed, and `field`.
    """
    if len(text) > CHARS_MAX:
        raise InvalidRequest(f"an expression has at most {CHARS_MAX} characters", field)
    try:
        tree = ast.parse(text.strip(), "<expr>", "eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise InvalidRequest(f"the expression {text!r} is malformed: {reason}", field) from error
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        problem = _problem(node, names, id(node) in called)
        if problem is not None:
            raise InvalidRequest(f"the expression {text!r} {problem}", field)
    return tree


def _problem(node: ast.AST, names: tuple[str, ...], is_called: bool) -> str | None:
    match node:
        case ast.Attribute(attr=name):
            return f"may not use .{name}: functions are {', '.join(FUNCTIONS)}"
        case ast.Name(id=name) if is_called and name not in FUNCTIONS:
            return f"calls {name}; functions are {', '.join(FUNCTIONS)}"
        case ast.Name(id=name) if not is_called and name not in names:
            return f"names {name}; it may name {' and '.join(names)}"
        case ast.Call(func=ast.Name(), keywords=[]):
            return None
        case ast.Call():
            return "may only call functions by name, without keywords"
        case _ if isinstance(node, _NODES):
            return None
        case _:
            return f"may not hold a {type(node).__name__}"
