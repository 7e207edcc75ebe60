"""What a prepared copy was made from, recorded beside it: the class of its builder, and the raw files that it read.

A copy is found by the name and the version of its builder. Another class of that name, or other files, would else be
taken for it. A copy without a record (of an earlier version, or TFDS's own) is taken as it is.
"""

import functools
import hashlib
import json
import os
import pathlib
import sys

from mnet_jax.config.own import is_executed
from mnet_jax.config.source import source_of
from mnet_jax.errors import UserError

_RECORD = "made_from.json"
_DIGITS = 16


def record(copy: pathlib.Path, builder_class: type, raw: str | None) -> None:
    """Writes beside a prepared copy which class made it, and from which folder of raw files, if from one."""
    temporary = copy / f".{_RECORD}.{os.getpid()}"
    temporary.write_text(json.dumps(_made_from(copy, builder_class, raw), indent=1) + "\n")
    temporary.replace(copy / _RECORD)


def check(copy: pathlib.Path, builder_class: type, raw: str | None, where: str) -> None:
    """Compares a prepared copy with what it would be made from now; a folder that is gone is not asked for.

    Raises:
      UserError: another class, or other files than are in `raw` now; or the record is damaged.
    """
    if not (copy / _RECORD).is_file():
        return
    try:
        before = json.loads((copy / _RECORD).read_text())
    except ValueError as error:
        raise UserError(f"{copy} is damaged ({_RECORD}: {error}): delete it, and it is prepared anew") from error
    now = _made_from(copy, builder_class, raw)
    if before["builder"] != now["builder"]:
        raise UserError(
            f"{where}: {copy} was prepared by another class of that name and version, or by an earlier form of this "
            f"one: give {builder_class.__name__}.VERSION another number, or delete that folder"
        )
    if None not in (before["files"], now["files"]) and before["files"] != now["files"]:
        raise UserError(
            f"{where}: {copy} was prepared from other files than are in config.data.source_dir={raw!r} now: delete "
            "that copy, or set --config.data.data_dir to another one"
        )


def digest(copy: pathlib.Path) -> str | None:
    """Of the record; None where there is none."""
    path = copy / _RECORD
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _made_from(copy: pathlib.Path, builder_class: type, raw: str | None) -> dict[str, str | None]:
    module = sys.modules.get(builder_class.__module__)
    if module and is_executed(module):
        builder = source_of(builder_class).fingerprint
    else:
        builder = f"{builder_class.__module__}:{builder_class.__qualname__}"  # in a package, which has its version
    reads = getattr(builder_class, "READS", ("",))
    files = None if raw is None else _listing(pathlib.Path(raw).expanduser().absolute(), tuple(reads), copy.resolve())
    return {"builder": builder, "files": files}


def forget() -> None:
    """Folders are listed again."""
    _listing.cache_clear()


@functools.cache
def _listing(folder: pathlib.Path, reads: tuple[str, ...], copy: pathlib.Path) -> str | None:
    """A digest of the names and sizes of what a builder reads in a folder; None where there is no folder.

    Links are followed, to each folder once. A folder in which the prepared copy lies is left out. Listed once for all
    trials of a sweep: ImageNet has 1.3 million files.
    """
    if not folder.is_dir():
        return None
    lines, seen = [], set()
    todo = [os.path.join(folder, entry) for entry in reads]
    while todo:
        path = todo.pop()
        if os.path.isfile(path):
            lines.append(b"%d %s" % (os.path.getsize(path), os.fsencode(path[len(str(folder)) + 1 :])))
        elif os.path.isdir(path) and (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            if real == str(folder.resolve()) or not copy.is_relative_to(real):
                todo += sorted(entry.path for entry in os.scandir(path) if entry.name[0] != ".")
    return hashlib.sha256(b"\n".join(sorted(lines))).hexdigest()[:_DIGITS]
