"""Where the images of each split are: in a folder of its name, or cut from the training images."""

import hashlib
import itertools
import math
import os
import pathlib
from collections.abc import Mapping, Sequence

from mnet_jax.errors import UserError

NAMES = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}


def source(data) -> pathlib.Path:
    """The folder of the raw files, as an absolute path.

    Raises:
      UserError: `config.data.source_dir` is not set, or there is no such folder.
    """
    if data.source_dir is None:
        raise UserError(f"data set {data.name}: set --config.data.source_dir=DIR to the folder of your images")
    folder = pathlib.Path(data.source_dir).expanduser()
    if not folder.is_dir():
        raise UserError(f"config.data.source_dir={data.source_dir!r}: there is no such folder")
    return folder.absolute()


def fractions(data) -> dict[str, float]:
    """Shares of the training images that become a split which is not there, in the order in which they are cut.

    Args:
      data: `config.data`: `validation_fraction`, `test_fraction`.

    Raises:
      UserError: they leave nothing to train on.
    """
    found = {"test": data.test_fraction, "validation": data.validation_fraction}
    if sum(found.values()) >= 1:
        raise UserError(
            f"config.data.validation_fraction={data.validation_fraction} and config.data.test_fraction="
            f"{data.test_fraction} leave nothing to train on"
        )
    return found


def places(name: str, folder: pathlib.Path, ending: str = "") -> dict[str, pathlib.Path]:
    """The folders in a folder of data set `name` that are splits, by split; or the files with an ending.

    Raises:
      UserError: two of them are for validation.
    """
    layout = {}
    for split, names in NAMES.items():
        there = [path for path in (folder / f"{name}{ending}" for name in names) if _is_any(path, ending)]
        if len(there) > 1:
            raise UserError(f"data set {name}: {' and '.join(map(str, there))}: which one is for validation?")
        if there:
            layout[split] = there[0]
    return layout


def _is_any(path: pathlib.Path, ending: str) -> bool:
    return path.is_file() if ending else path.is_dir()


def cut(
    training: Sequence[tuple[str, int]], seed: int, fractions: Mapping[str, float]
) -> dict[str, list[tuple[str, int]]]:
    """The training images, with those of the splits that `fractions` names taken out; splits without images are not.

    Of the n images of a label, `max(1, floor(n * fraction + 1/2))` go to a split, and at least one is left to train on.
    Which ones is decided by a hash of the seed and the path.

    Args:
      training: paths and labels, by label.
      seed: `config.data.split_seed`.
      fractions: of splits, in the order in which they are cut.
    """
    found = {"train": [], **{split: [] for split in fractions}}
    for _, members in itertools.groupby(training, key=lambda member: member[1]):
        members = sorted(members, key=lambda member: _draw(seed, member[0]))
        last = len(members)
        for split, fraction in fractions.items():
            first = max(1, last - max(1, math.floor(len(members) * fraction + 0.5)))
            found[split] += members[first:last]
            last = first
        found["train"] += members[:last]
    return {split: sorted(members) for split, members in found.items() if members}


def _draw(seed: int, path: str) -> bytes:
    return hashlib.sha256(f"{seed},".encode() + os.fsencode(path)).digest()
