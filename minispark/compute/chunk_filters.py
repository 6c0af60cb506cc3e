"""Filters on whole chunks of text: lines that cannot pass are never made.

Must not know pipelines.
"""

from __future__ import annotations

from minispark.compute.batch import Batch, TextChunk, Values
from minispark.compute.kernels import Kernel
from minispark.compute.user_functions import UserFunction
from minispark.compute.user_kernels import user_kernel
from minispark.model.filter_facts import needed_text

HITS_MAX = 256
"""A chunk with more of them is cheaper to split: to cut out one line costs what five others do."""


def filter_kernel(fn: str, function: UserFunction) -> Kernel:
    """The kernel of a filter of the user's; `fn` is its name, or its expression."""
    ask = user_kernel("filter", function)
    needed = needed_text(fn)
    if needed is None or "\n" in needed.text or "\r" in needed.text:
        return ask
    text, is_all = needed.text, needed.is_all

    def kernel(batch: Batch) -> Batch:
        if not isinstance(batch, TextChunk):
            return ask(batch)
        found = Values(lines_with(batch, text))
        return found if is_all else ask(found)

    return kernel


def lines_with(chunk: TextChunk, part: str) -> list[str]:
    """The lines that hold `part`, which is not empty and holds no end of a line."""
    text = chunk.text
    found: list[str] = []
    at = text.find(part)
    while at >= 0:
        if len(found) == HITS_MAX:
            return [line for line in chunk.lines() if part in line]
        end = text.find("\n", at)
        found.append(text[text.rfind("\n", 0, at) + 1 : end].removesuffix("\r"))
        at = text.find(part, end)
    return found
