"""Polars, lazy and streaming, two threads, in this process."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "2"

import polars as pl


class Session:
    def __init__(self, folder: Path) -> None:
        pass

    def word_count(self, path: str, has_header: bool, out: Path) -> None:
        lines = pl.scan_csv(
            path, separator="\x01", has_header=False, skip_rows=int(has_header), quote_char=None,
            new_columns=["line"], infer_schema=False,
        )  # fmt: skip
        words = lines.select(pl.col("line").str.split(" ").alias("word")).explode("word")
        counts = words.filter(pl.col("word") != "").group_by("word").len()
        counts.sink_csv(out / "words", separator="\t", include_header=False)

    def join(self, sales: str, products: str, out: Path) -> None:
        left = pl.scan_csv(sales, infer_schema=False)
        right = pl.scan_csv(products, infer_schema=False)
        rows = left.join(right, on="product_id").select(
            "product_id", pl.format("({},{})", pl.col("quantity"), pl.col("name"))
        )
        rows.sink_csv(out / "rows", separator="\t", include_header=False, quote_style="never")

    def close(self) -> None:
        pass


start = Session
