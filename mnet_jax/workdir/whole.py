"""Files that are whole or not there, and what becomes of those that are damaged."""

import hashlib
import itertools
import json
import os
import pathlib
import uuid
from typing import Any

from mnet_jax.errors import UserError

_Json = dict[str, Any]

_CHECKSUM = "checksum"  # key of a file's own checksum
UNREADABLE = (OSError, ValueError, RecursionError)  # what reading a damaged file raises


class Damaged(UserError):
    """A file is not what was written; the message names it."""


def set_aside(path: pathlib.Path) -> pathlib.Path:
    """Renames what is in the way or damaged to `NAME.damaged`, or `NAME.damaged.2` and so on; returns the new path."""
    names = itertools.chain([f"{path.name}.damaged"], (f"{path.name}.damaged.{i}" for i in itertools.count(2)))
    return path.rename(next(aside for aside in map(path.with_name, names) if not os.path.lexists(aside)))


def read_json(path: pathlib.Path) -> _Json:
    """The object in a file; empty where there is no file.

    Raises:
      Damaged: it cannot be read, holds something else, or contradicts its checksum.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
        if (checksum := value.pop(_CHECKSUM, None)) is not None and checksum != _digest(value):
            raise ValueError("it is not what was written")
        return value
    except FileNotFoundError:
        return {}
    except UNREADABLE as error:
        raise Damaged(f"{path} is damaged ({getattr(error, 'strerror', None) or error})") from error


def write_checked(path: pathlib.Path, value: _Json) -> None:
    """As `write_json`, with a checksum in it, by which `read_json` notices a change."""
    write_json(path, value | {_CHECKSUM: _digest(value)})


def write_json(path: pathlib.Path, value: _Json) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Readers see the old file or the new one, also after a crash; a folder in its place is set aside."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.is_dir():
        set_aside(path)
    os.replace(temporary, path)


def _digest(value: _Json) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
