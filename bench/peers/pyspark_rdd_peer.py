"""PySpark, local[2]: RDDs with Python functions."""

from __future__ import annotations

import shutil
from operator import add
from pathlib import Path

from bench.peers import by_hand
from bench.peers.pyspark_peer import spark_session


class Session:
    def __init__(self, folder: Path) -> None:
        self._spark = spark_session(folder)
        self._context = self._spark.sparkContext

    def word_count(self, path: str, has_header: bool, out: Path) -> None:
        lines = self._context.textFile(path, 2)
        if has_header:
            lines = lines.mapPartitionsWithIndex(without_header)
        counts = lines.flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(add, 2)
        shutil.rmtree(out)
        counts.map(lambda pair: f"{pair[0]}\t{pair[1]}").saveAsTextFile(str(out))

    def join(self, sales: str, products: str, out: Path) -> None:
        left, right = (
            self._context.textFile(path, 2)
            .mapPartitionsWithIndex(without_header)
            .map(lambda line: tuple(line.split(",", 1)))
            for path in (sales, products)
        )
        shutil.rmtree(out)
        rows = left.join(right, 2).map(lambda row: f"{row[0]}\t({row[1][0]},{row[1][1]})")
        rows.saveAsTextFile(str(out))

    def no_ops(self, count: int) -> int:
        return self._context.parallelize(range(count), count).map(by_hand.nothing).sum()

    def close(self) -> None:
        self._spark.stop()


def without_header(index, lines):  # type: ignore[no-untyped-def]
    if index == 0:
        next(lines, None)
    return lines


start = Session
