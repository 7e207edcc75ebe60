"""Folders of classes: which names are classes, in which order, and which files are theirs."""

import collections
import itertools
import os
import pathlib
import stat
from collections.abc import Iterable, Sequence

from mnet_jax.errors import UserError

_HIDDEN_FILE = "hidden file"
_HIDDEN_FOLDER = "hidden folder"
_OUTSIDE = "file outside the class folders"
BESIDE = "folder beside the splits"
OUTSIDE_SPLITS = "image outside the splits"
_REPEATED = "circular or repeated link"
_BROKEN = "broken link"
NO_IMAGE = "file that is no image"

_PLURALS = {
    _HIDDEN_FILE: "hidden files",
    _HIDDEN_FOLDER: "hidden folders",
    NO_IMAGE: "files that are no images",
    _OUTSIDE: "files outside the class folders",
    BESIDE: "folders beside the splits",
    OUTSIDE_SPLITS: "images outside the splits",
    _REPEATED: "circular or repeated links",
    _BROKEN: "broken links",
}

_NAMED = 5  # most classes that a message names

LeftOut = collections.Counter  # how many of each kind are no part of the data set


def names(folder: pathlib.Path, left_out: LeftOut | None = None) -> tuple[str, ...]:
    """The classes of a folder: its folders whose names have no leading dot; names of digits sort as numbers.

    A link to the folder itself, or to one above it, is no class.

    Raises:
      UserError: the folder cannot be read, or a name is no UTF-8.
    """
    left_out = LeftOut() if left_out is None else left_out
    above, found = above_and_at(folder), []
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            found.append(entry.name)
            continue
        info = _stat(entry.path)
        if entry.name.startswith("."):
            left_out[_HIDDEN_FOLDER if info and stat.S_ISDIR(info.st_mode) else _HIDDEN_FILE] += 1
        elif info is None:
            left_out[_BROKEN] += 1
        elif not stat.S_ISDIR(info.st_mode):
            left_out[_OUTSIDE] += 1
        elif _identity(info) in above:
            left_out[_REPEATED] += 1
        else:
            found.append(entry.name)
    for name in found:
        if not _is_utf8(name):
            raise UserError(f"{folder}: the name of the class {os.fsencode(name)!r} is no UTF-8")
    return in_order(found)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names as they are sorted where nothing else is said; see `by_number`."""
    return tuple(sorted(names, key=by_number))


def common_names(folders: Sequence[pathlib.Path], left_out: LeftOut | None = None) -> tuple[str, ...]:
    """The classes of all the folders.

    Raises:
      UserError: a class is in one of them and not in another; or as `names`.
    """
    found = {folder: names(folder, left_out) for folder in folders}
    for here, there in itertools.permutations(folders, 2):
        if lacking := set(found[here]) - set(found[there]):
            raise UserError(f"{there} lacks {listed(lacking)} of {here}")
    return found[folders[0]]


def files(folder: pathlib.Path, left_out: LeftOut) -> list[str]:
    """Paths, relative to a class's folder and sorted, of the files in it and in the folders inside it.

    Links are followed, to each folder once. Hidden ones, pipes and broken links are counted in `left_out`.

    Raises:
      UserError: a folder cannot be read.
    """
    seen, found = above_and_at(folder), []
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        folders = []
        for entry in _entries(folder / inside):
            path = os.path.join(inside, entry.name)
            if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                found.append(path)  # without a call of the system for each of a million files
                continue
            info = _stat(entry.path)
            is_folder = info is not None and stat.S_ISDIR(info.st_mode)
            if entry.name.startswith("."):
                left_out[_HIDDEN_FOLDER if is_folder else _HIDDEN_FILE] += 1
            elif info is None:
                left_out[_BROKEN] += 1
            elif is_folder:
                folders.append((entry.is_symlink(), path, _identity(info)))
            elif stat.S_ISREG(info.st_mode):
                found.append(path)
            else:
                left_out[NO_IMAGE] += 1
        for _, path, identity in sorted(folders):  # folders before links to them
            if identity in seen:
                left_out[_REPEATED] += 1
            else:
                seen.add(identity)
                waiting.append(path)
    return sorted(found)


def text(left_out: LeftOut) -> str:
    """Such as "1 hidden file, 2 files that are no images, 1 GIF image"; empty where nothing is left out."""
    kinds = [kind for kind in _PLURALS if left_out[kind]]
    named = [f"{left_out[kind]} {kind if left_out[kind] == 1 else _PLURALS[kind]}" for kind in kinds]
    formats = sorted(left_out.keys() - _PLURALS.keys())
    return ", ".join(named + [f"{left_out[name]} {name} image{'s' * (left_out[name] > 1)}" for name in formats])


def above_and_at(folder: pathlib.Path) -> set[tuple[int, int]]:
    """Which folders a link inside `folder` must not lead back to."""
    paths = {path for start in (folder.absolute(), folder.resolve()) for path in (start, *start.parents)}
    return {_identity(info) for info in map(_stat, paths) if info is not None}


def by_number(name: str) -> tuple:
    """A key to sort names by: those of digits as numbers, then the others as text."""
    return (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name)


def listed(names: Iterable[str]) -> str:
    """Such as "classes 'a', 'b'", the first few."""
    ordered = in_order(names)
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return f"{'class' if len(ordered) == 1 else 'classes'} {', '.join(map(repr, ordered[:_NAMED]))}{more}"


def _entries(folder: pathlib.Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from error


def _stat(path: str | os.PathLike) -> os.stat_result | None:
    """Of what a link leads to; None where it leads nowhere or in a circle."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
