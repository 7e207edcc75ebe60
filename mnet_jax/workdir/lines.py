"""Rows of numbers by step, a JSON object per line: metrics.jsonl, while another process may be writing it."""

import json
import pathlib
from typing import Any

from mnet_jax.workdir.whole import UNREADABLE, write_text

_Json = dict[str, Any]


def read(path: pathlib.Path, offset: int = 0) -> tuple[list[_Json], int]:
    """The rows from a position on that can be read, and the position behind them; a last line without end is left."""
    if not path.is_file():
        return [], 0
    content = _whole(path, offset)
    return list(filter(None, map(row, content.splitlines()))), offset + len(content) + bool(content)


def unread(path: pathlib.Path) -> list[bytes]:
    """The lines as they stand there, for `row`."""
    return _whole(path, 0).splitlines() if path.is_file() else []


def row(line: bytes) -> _Json | None:
    """The row in a line; None where it is none."""
    try:
        found = json.loads(line)
    except UNREADABLE:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("step"), int) else None


def append(path: pathlib.Path, found: _Json) -> None:
    with path.open("a") as file:
        file.write(json.dumps(found) + "\n")


def keep_until(path: pathlib.Path, step: int) -> None:
    """Drops the rows of later steps, and those that cannot be read."""
    rows = [found for found in read(path)[0] if found["step"] <= step]
    write_text(path, "".join(json.dumps(found) + "\n" for found in rows))


def _whole(path: pathlib.Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().rpartition(b"\n")[0]
