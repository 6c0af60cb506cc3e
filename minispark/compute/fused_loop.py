"""A chain of the user's functions that ends in a reducer of theirs, as one generated loop.

Record by record, with nothing built in between: a quarter of the time of one batch after the other.
A simple function (`inlining.py`) is not even called.
It means what the kernels of `user_kernels.py` mean, and a test holds it against them. Must not know
pipelines.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

from minispark.compute.batch import Batch, Keyed, text_of, value_list
from minispark.compute.inlining import Placed
from minispark.compute.user_functions import UserFunction, describe, shown
from minispark.compute.user_kernels import Fold, check_flag, checked_value, key_text
from minispark.errors import TaskError

_FILE = "<fused loop>"


@dataclass(frozen=True, slots=True)
class LoopStep:
    """One narrow step of the chain."""

    node_id: str
    op: str
    function: UserFunction


class FusedLoop:
    """Runs the steps over batches and folds what leaves them into `fold`."""

    def __init__(self, steps: list[LoopStep], fold: Fold) -> None:
        self._steps = steps
        self._fold = fold
        writer = _Writer(steps, fold.function)
        scope: dict[str, Any] = {
            "KeyText": key_text,
            "Checked": checked_value,
            "CheckFlag": check_flag,
            "TextOf": text_of,
            "fold": fold.function.call,
            **{f"call{i}": step.function.call for i, step in enumerate(steps)},
            **{f"name{i}": step.function.name for i, step in enumerate(steps)},
        }
        self.source = writer.source()
        scope |= writer.scope
        exec(compile(self.source, _FILE, "exec"), scope)
        self._loop: Callable[..., tuple[int, ...]] = scope["loop"]
        self._lines = writer.lines
        """By line of the source."""
        self.counts = {step.node_id: 0 for step in steps}

    def take(self, batch: Batch) -> None:
        """Run the steps over one batch. Raises TaskError that names the function and the record."""
        values = value_list(batch)
        keys = batch.keys if isinstance(batch, Keyed) else repeat(None, len(values))
        try:
            counts = self._loop(keys, values, self._fold.values)
        except TaskError:
            raise
        except (Exception, SystemExit) as error:
            raise self._explained(error) from error
        for step, count in zip(self._steps, counts, strict=True):
            self.counts[step.node_id] += count

    def _explained(self, error: BaseException) -> TaskError:
        """Which function failed at what is read from the loop's frame."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != _FILE:
            trace = trace.tb_next
        if trace is None:
            return TaskError(describe("a function", error, None))
        site = self._lines.get(trace.tb_lineno)
        if site is None:
            return TaskError(describe("a function", error, None))
        found = trace.tb_frame.f_locals
        key, value = found[site.key], found.get(site.value)
        if site.key_of is not None:
            key_text(site.key_of, key)  # which says what a key is
        arguments: tuple[Any, ...]
        if site.function is self._fold.function:
            arguments = (found["values"].get(key), value)
            record = f"key {shown(key)}, {shown(arguments[0])} and {shown(value)}"
        else:
            arguments = (key, value) if site.function.arity == 2 else (value,)
            record = shown(value) if key is None else f"({shown(key)}, {shown(value)})"
        if site.function.inline is not None:
            error = _called_again(site.function, arguments) or error
        return TaskError(describe(site.function.name, error, lambda: record))


def _called_again(function: UserFunction, arguments: tuple[Any, ...]) -> BaseException | None:
    """What it raises where it stands in the user's module: their file and line."""
    try:
        function.call(*arguments)
    except (Exception, SystemExit) as error:
        return error
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """Where in the loop a function works: on a record in these variables."""

    function: UserFunction
    key: str
    value: str
    key_of: str | None = None
    """Here the key is looked up that this function made, and that may be none."""


class _Writer:
    """Writes the loop's source, a level of indentation for each flat_map.

    A record is in two variables, whose names `_key` and `_value` are. What is known of its types
    needs no look: a look takes as long as a tenth of a call.
    """

    def __init__(self, steps: list[LoopStep], fold: UserFunction) -> None:
        self._steps = steps
        self._fold = fold
        self._rows: list[str] = []
        self.lines: dict[int, Site] = {}
        self.scope: dict[str, Any] = {}
        """What the expressions of inlined functions name."""
        self._key, self._value = "k0", "v0"
        self._value_kind: type | None = None
        self._is_keyed = False
        """It certainly has a key."""
        self._key_of: str | None = None
        """The function whose key nobody has looked at yet: it may be no text."""

    def source(self) -> str:
        counters = {i: f"n{i}" for i, step in enumerate(self._steps) if step.op != "map"}
        counters[-1] = "n"
        self._write(0, "def loop(keys, records, values):")
        self._write(1, " = ".join([*counters.values(), "0"]))
        self._write(1, "for k0, v0 in zip(keys, records):")
        depth, count_of = 2, "n"
        self._write(depth, "n += 1")
        counts: list[str] = []
        for i, step in enumerate(self._steps):
            count_of = counters.get(i, count_of)
            depth = self._step(depth, i, step, count_of)
            counts.append(count_of)
        self._fold_in(depth)
        self._write(1, f"return ({''.join(f'{count}, ' for count in counts)})")
        return "\n".join(self._rows) + "\n"

    # --- steps -------------------------------------------------------------------------------

    def _step(self, depth: int, i: int, step: LoopStep, counter: str) -> int:
        """Writes what becomes of a record; returns the depth after it."""
        if self._key_of is not None:
            self._write(depth, f"if type({self._key}) is not str:")
            self._write(depth + 1, f"{self._key} = KeyText({self._key_of!r}, {self._key})")
            self._key_of = None
        function = step.function
        arguments: tuple[str, ...] = (self._value,)
        kinds: tuple[type | None, ...] = (self._value_kind,)
        if function.arity == 2:
            arguments = (self._key, self._value)
            kinds = (str if self._is_keyed else None, self._value_kind)
        at = Site(function, self._key, self._value)
        placed = self._placed(depth, at, arguments, kinds, f"own{i}_")
        kind, called = None, f"call{i}({', '.join(arguments)})"
        if placed is not None:
            if step.op == "map" and placed.pair is not None:
                self._pair(depth, i, at, placed, placed.pair)
                return depth
            kind, called = placed.kind(placed.body), placed.text(placed.body)
        match step.op:
            case "filter":
                self._write(depth, f"r = {called}", at)
                self._write(depth, "if r is not True:")
                self._write(depth + 1, f"CheckFlag(name{i}, r, {self._key}, {self._value})", at)
                self._write(depth + 1, "continue")
                self._write(depth, f"{counter} += 1")
            case "map" if kind in (str, int):
                self._write(depth, f"v{i + 1} = {called}", at)
                self._value, self._value_kind = f"v{i + 1}", kind
            case "map":
                self._write(depth, f"r = {called}", at)
                self._record(depth, i, at, is_pair_likely=True)
            case _:
                self._write(depth, f"results{i} = {called}", at)
                self._write(depth, f"if type(results{i}) is not list:")
                self._write(depth + 1, f"results{i} = list(results{i})", at)
                self._write(depth, f"{counter} += len(results{i})")
                self._write(depth, f"for r in results{i}:")
                depth += 1
                self._record(depth, i, at, is_pair_likely=False)
        return depth

    def _placed(
        self,
        depth: int,
        at: Site,
        arguments: tuple[str, ...],
        kinds: tuple[type | None, ...],
        prefix: str,
    ) -> Placed | None:
        """Writes what an inlined function does before its result; None of one that is called."""
        if at.function.inline is None:
            return None
        placed = at.function.inline.placed(arguments, kinds, prefix)
        self.scope |= placed.values()
        for line in placed.lines:
            self._write(depth, line, at)
        return placed

    def _pair(
        self, depth: int, i: int, at: Site, placed: Placed, pair: tuple[ast.expr, ast.expr]
    ) -> None:
        """A function that ends with `return key, value`: no pair is made."""
        key, value = pair
        self._write(depth, f"k{i + 1} = {placed.text(key)}", at)
        self._write(depth, f"v{i + 1} = {placed.text(value)}", at)
        self._key, self._value, self._value_kind = f"k{i + 1}", f"v{i + 1}", placed.kind(value)
        self._is_keyed = True
        self._key_of = None if placed.kind(key) is str else at.function.name
        if self._value_kind not in (str, int):
            self._check_value(depth, i, at)

    def _record(self, depth: int, i: int, at: Site, is_pair_likely: bool) -> None:
        """`r` is a pair, or a value with the old key."""
        old_key, key, value = self._key, f"k{i + 1}", f"v{i + 1}"
        self._key, self._value, self._value_kind = key, value, None
        if is_pair_likely:
            self._write(depth, "if type(r) is tuple:")
            self._pair_of(depth + 1, i, at, old_key)
            self._write(depth, "elif type(r) is str:")
            self._write(depth + 1, f"{key} = {old_key}; {value} = r")
        else:
            self._write(depth, "if type(r) is str:")
            self._write(depth + 1, f"{key} = {old_key}; {value} = r")
            self._write(depth, "elif type(r) is tuple:")
            self._pair_of(depth + 1, i, at, old_key)
        self._write(depth, "else:")
        self._write(depth + 1, f"{key} = {old_key}; {value} = Checked(name{i}, r)", at)

    def _pair_of(self, depth: int, i: int, at: Site, old_key: str) -> None:
        """`r` is a tuple; one of another length is a value."""
        key, value = self._key, self._value
        self._write(depth, "try:")
        self._write(depth + 1, f"{key}, {value} = r")
        self._write(depth, "except ValueError:")
        self._write(depth + 1, f"{key} = {old_key}; {value} = Checked(name{i}, r)", at)
        self._write(depth, "else:")
        if i + 1 == len(self._steps):  # the fold looks at it
            self._key_of = at.function.name
            self._write(depth + 1, f"if {key} is None:")
            self._write(depth + 2, f"KeyText(name{i}, {key})")
        else:
            self._write(depth + 1, f"if type({key}) is not str:")
            self._write(depth + 2, f"{key} = KeyText(name{i}, {key})")
        self._check_value(depth + 1, i, at)

    def _check_value(self, depth: int, i: int, at: Site) -> None:
        self._write(depth, f"kind = type({self._value})")
        self._write(depth, "if kind is not int and kind is not str:")
        self._write(depth + 1, f"{self._value} = Checked(name{i}, {self._value})", at)

    # --- the end -----------------------------------------------------------------------------

    def _fold_in(self, depth: int) -> None:
        """Keys in `values` are text, so one that is found there is: only a new one is looked at."""
        key, value = self._key, self._value
        if not self._is_keyed:
            self._write(depth, f"if {key} is None:")
            self._write(depth + 1, f"{key} = TextOf({value}); {value} = 1")
        at = Site(self._fold, key, value)
        self._write(depth, f"if {key} in values:", replace(at, key_of=self._key_of))
        self._folded(depth + 1, at)
        self._write(depth, "else:")
        if self._key_of is not None:
            self._write(depth + 1, f"if type({key}) is not str:")
            self._write(depth + 2, f"{key} = KeyText({self._key_of!r}, {key})")
            self._write(depth + 2, f"if {key} in values:")
            self._folded(depth + 3, at)
            self._write(depth + 3, "continue")
        self._write(depth + 1, f"values[{key}] = {value}")

    def _folded(self, depth: int, at: Site) -> None:
        old = f"values[{at.key}]"
        called = f"fold({old}, {at.value})"
        placed = self._placed(depth, at, (old, at.value), (None, self._value_kind), "ownfold_")
        if placed is not None:
            called = placed.text(placed.body)
        self._write(depth, f"{old} = {called}", at)

    def _write(self, depth: int, text: str, at: Site | None = None) -> None:
        self._rows.append("    " * depth + text)
        if at is not None:
            self.lines[len(self._rows)] = at
