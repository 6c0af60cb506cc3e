"""A chain of the user's functions that ends in a reducer of theirs, as one generated loop.

Record by record, with nothing built in between: a quarter of the time of one batch after the other.
It means what the kernels of `user_kernels.py` mean, and a test holds it against them. Must not know
pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from minispark.compute.batch import Batch, Keyed, text_of, value_list
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
        exec(compile(self.source, _FILE, "exec"), scope)
        self._loop: Callable[..., tuple[int, ...]] = scope["loop"]
        self._lines = writer.lines
        """By line of the source: which step works there, and the name of what it works on."""
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
        name, key, value = self._lines.get(trace.tb_lineno, ("a function", "k0", "v0"))
        found = trace.tb_frame.f_locals
        if name == self._fold.function.name:
            first = found["values"].get(found[key])
            record = f"key {shown(found[key])}, {shown(first)} and {shown(found[value])}"
        elif found.get(key) is None:
            record = shown(found.get(value))
        else:
            record = f"({shown(found[key])}, {shown(found.get(value))})"
        return TaskError(describe(name, error, lambda: record))


class _Writer:
    """Writes the loop's source, a level of indentation for each flat_map."""

    def __init__(self, steps: list[LoopStep], fold: UserFunction) -> None:
        self._steps = steps
        self._fold = fold
        self._rows: list[str] = []
        self.lines: dict[int, tuple[str, str, str]] = {}

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
            depth = self._step(depth, i, step)
            if i in counters:
                count_of = counters[i]
                self._write(depth, f"{count_of} += 1")
            counts.append(count_of)
        self._fold_in(depth, len(self._steps))
        self._write(1, f"return ({''.join(f'{count}, ' for count in counts)})")
        return "\n".join(self._rows) + "\n"

    def _step(self, depth: int, i: int, step: LoopStep) -> int:
        """Writes the step from record i to record i + 1; returns the depth after it."""
        at = (step.function.name, f"k{i}", f"v{i}")
        arguments = f"k{i}, v{i}" if step.function.arity == 2 else f"v{i}"
        match step.op:
            case "filter":
                self._write(depth, f"r = call{i}({arguments})", at)
                self._write(depth, "if r is not True:")
                self._write(depth + 1, f"CheckFlag(name{i}, r, k{i}, v{i})", at)
                self._write(depth + 1, "continue")
                self._write(depth, f"k{i + 1} = k{i}; v{i + 1} = v{i}")
                return depth
            case "map":
                self._write(depth, f"r = call{i}({arguments})", at)
            case _:
                self._write(depth, f"for r in call{i}({arguments}):", at)
                depth += 1
        self._record(depth, i, at)
        return depth

    def _record(self, depth: int, i: int, at: tuple[str, str, str]) -> None:
        """A result is a pair, or a value with the old key."""
        key, value = f"k{i + 1}", f"v{i + 1}"
        self._write(depth, "kind = type(r)")
        self._write(depth, "if kind is str:")
        self._write(depth + 1, f"{key} = k{i}; {value} = r")
        self._write(depth, "elif kind is tuple and len(r) == 2:")
        self._write(depth + 1, f"{key}, {value} = r")
        self._write(depth + 1, f"if type({key}) is not str:")
        self._write(depth + 2, f"{key} = KeyText(name{i}, {key})", at)
        self._write(depth + 1, f"kind = type({value})")
        self._write(depth + 1, "if kind is not int and kind is not str:")
        self._write(depth + 2, f"{value} = Checked(name{i}, {value})", at)
        self._write(depth, "else:")
        self._write(depth + 1, f"{key} = k{i}; {value} = Checked(name{i}, r)", at)

    def _fold_in(self, depth: int, i: int) -> None:
        at = (self._fold.name, f"k{i}", f"v{i}")
        self._write(depth, f"if k{i} is None:")
        self._write(depth + 1, f"k{i} = TextOf(v{i}); v{i} = 1")
        self._write(depth, f"if k{i} in values:")
        self._write(depth + 1, f"values[k{i}] = fold(values[k{i}], v{i})", at)
        self._write(depth, "else:")
        self._write(depth + 1, f"values[k{i}] = v{i}")

    def _write(self, depth: int, text: str, at: tuple[str, str, str] | None = None) -> None:
        self._rows.append("    " * depth + text)
        if at is not None:
            self.lines[len(self._rows)] = at
