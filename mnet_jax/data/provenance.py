"""What a prepared copy was made from, recorded beside it: the class of its builder, and the raw files that it read.

A copy is found by the name and the version of its builder. Another class of that name, or other files, would else be
taken for it. A copy without a record (of an earlier version, or TFDS's own) is taken as it is.
"""

import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Sequence

from mnet_jax.config.own import is_executed
from mnet_jax.config.source import source_of
from mnet_jax.errors import UserError

_RECORD = "made_from.json"
_DIGITS = 16


def record(copy: pathlib.Path, builder_class: type, raw: str | None) -> None:
    """Writes beside a prepared copy which class made it, and from which folder of raw files, if from one."""
    (copy / _RECORD).write_text(json.dumps(_made_from(copy, builder_class, raw), indent=1) + "\n")


def check(copy: pathlib.Path, builder_class: type, raw: str | None, where: str) -> None:
    """Compares a prepared copy with what it would be made from now; a folder that is gone is not asked for.

    Raises:
      UserError: another class, or other files than are in `raw` now.
    """
    if not (copy / _RECORD).is_file():
        return
    before, now = json.loads((copy / _RECORD).read_text()), _made_from(copy, builder_class, raw)
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
    files = None if raw is None else _listing(pathlib.Path(raw).expanduser(), reads, copy.resolve())
    return {"builder": builder, "files": files}


def _listing(folder: pathlib.Path, reads: Sequence[str], copy: pathlib.Path) -> str | None:
    """A digest of the names and sizes of what a builder reads in a folder; None where there is no folder.

    A folder in which the prepared copy lies is left out.
    """
    if not folder.is_dir():
        return None
    found = []
    for entry in reads:
        if (folder / entry).is_file():
            found.append(folder / entry)
        for place, folders, names in os.walk(folder / entry, followlinks=True):
            place = pathlib.Path(place)
            folders[:] = [
                name for name in folders if name[0] != "." and not copy.is_relative_to((place / name).resolve())
            ]
            found += [place / name for name in names if name[0] != "." and (place / name).is_file()]
    lines = [b"%d %s" % (path.stat().st_size, os.fsencode(path.relative_to(folder))) for path in found]
    return hashlib.sha256(b"\n".join(sorted(lines))).hexdigest()[:_DIGITS]
