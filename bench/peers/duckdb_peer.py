"""DuckDB, two threads, in this process."""

from __future__ import annotations

from pathlib import Path

import duckdb


class Session:
    def __init__(self, folder: Path) -> None:
        self._db = duckdb.connect(config={"threads": 2})

    def word_count(self, path: str, has_header: bool, out: Path) -> None:
        self._db.execute(
            "COPY (SELECT word, count(*) FROM (SELECT unnest(string_split(line, ' ')) AS word FROM"
            f" read_csv('{path}', header={has_header}, delim='\\x01', quote='', escape='',"
            " columns={'line': 'VARCHAR'})) WHERE word <> '' GROUP BY word)"
            f" TO '{out}/words' (FORMAT csv, DELIMITER '\t', HEADER false)"
        )

    def join(self, sales: str, products: str, out: Path) -> None:
        self._db.execute(
            "COPY (SELECT s.product_id, '(' || quantity || ',' || name || ')'"
            f" FROM read_csv('{sales}', all_varchar=true) s"
            f" JOIN read_csv('{products}', all_varchar=true) p ON s.product_id = p.product_id)"
            f" TO '{out}/rows' (FORMAT csv, DELIMITER '\t', HEADER false)"
        )

    def close(self) -> None:
        self._db.close()


start = Session
