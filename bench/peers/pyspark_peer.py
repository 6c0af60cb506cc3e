"""PySpark, local[2]: data frames."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as f


def spark_session(folder: Path) -> SparkSession:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    for name, value in (
        ("spark.driver.host", "127.0.0.1"),
        ("spark.driver.bindAddress", "127.0.0.1"),
        ("spark.driver.memory", "4g"),
        ("spark.sql.shuffle.partitions", "2"),
        ("spark.default.parallelism", "2"),
        ("spark.local.dir", str(folder / "local")),
        ("spark.sql.warehouse.dir", str(folder / "warehouse")),
    ):
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


class Session:
    def __init__(self, folder: Path) -> None:
        self._spark = spark_session(folder)

    def word_count(self, path: str, has_header: bool, out: Path) -> None:
        lines = self._spark.read.option("header", has_header).option("sep", "\x01").csv(path)
        words = lines.select(f.explode(f.split(f.col(lines.columns[0]), " ")).alias("word"))
        counts = words.where(f.col("word") != "").groupBy("word").count()
        self._write(counts, out)

    def join(self, sales: str, products: str, out: Path) -> None:
        left = self._spark.read.option("header", True).csv(sales)
        right = self._spark.read.option("header", True).csv(products)
        value = f.format_string("(%s,%s)", f.col("quantity"), f.col("name"))
        self._write(left.join(right, "product_id").select("product_id", value), out)

    def _write(self, frame: object, out: Path) -> None:
        shutil.rmtree(out)
        frame.write.option("sep", "\t").csv(str(out))  # type: ignore[attr-defined]

    def close(self) -> None:
        self._spark.stop()


start = Session
