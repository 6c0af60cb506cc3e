"""Functions of one's own for data/jobs/stems.yaml: a word count without endings and small words."""

import re

WORD = re.compile(r"[^\W\d_]+")
ENDINGS = ("ing", "es", "ed", "s")


def words(line):
    """flat_map: a line becomes its words."""
    return WORD.findall(line.lower())


def stem(word):
    """map: a word becomes (its stem, 1)."""
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word.removesuffix(ending), 1
    return word, 1


def add(a, b):
    """reduce_by_key: any associative function of two values."""
    return a + b
