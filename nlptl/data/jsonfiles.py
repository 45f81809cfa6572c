"""JSON Lines, and JSON: a list of rows, or one mapping of columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from nlptl.data.examples import Origin
from nlptl.data.table import Table, chunks, from_columns, from_records
from nlptl.errors import DataError, Fault, Faults


def read_json_lines(lines: Iterable[str], name: str, size: int | None) -> Iterator[Table]:
    """One object a line; empty lines are passed over, and counted as lines."""
    faults = Faults()
    for part in chunks(_objects(lines, name, faults), size):
        faults.raise_if_any(DataError)
        yield from_records([record for _, record in part], Origin(name, [n for n, _ in part], "{name}, line {row}"))


def read_json(text: str, name: str) -> Table:
    """A list of objects, a mapping of columns, or ``{"data": […]}``."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _is_json(text.lstrip().partition("\n")[0]):  # many a .json file is JSON Lines
            (table,) = read_json_lines(text.split("\n"), name, None)
            return Table(table.columns, table.origin, (f"{name} read as JSON Lines",))
        raise DataError(_not_json(error, name)) from error
    if isinstance(content, dict) and list(content) == ["data"] and isinstance(content["data"], list):
        content = content["data"]
    if isinstance(content, dict) and all(isinstance(column, list) for column in content.values()):
        return from_columns(content, name)
    if not isinstance(content, list):
        raise DataError(_not_object(content, name))
    faults = Faults()
    faults.extend(_not_object(r, f"{name}, row {i}") for i, r in enumerate(content, 1) if not isinstance(r, dict))
    faults.raise_if_any(DataError)
    return from_records(content, Origin(name, range(1, len(content) + 1), "{name}, row {row}"))


def _objects(lines: Iterable[str], name: str, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's object with its number; a line that holds none becomes a fault, and an empty object in its place."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        record: Any = {}
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            faults.extend([_not_json(error, where)])
        if not isinstance(record, dict):
            faults.extend([_not_object(record, where)])
            record = {}
        yield number, record


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _not_json(error: Exception, where: str) -> Fault:
    return Fault(f"text that is no JSON ({error})", 'one object a row, such as {"text": …}', "mend or remove it", where)


def _not_object(value: Any, where: str) -> Fault:
    kind = {list: "a list", str: "a string", dict: "an object without rows", type(None): "null"}.get(
        type(value), "a number"
    )
    return Fault(f"{kind} of JSON", 'one object a row, such as {"text": …}', "write each row as an object", where)
