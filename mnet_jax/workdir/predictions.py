"""Which test images each trial has right, one bit an image, so that trials can be compared on the same images.

A trial's folder has `predictions.npz`: `correct`, the bits in the order of the test split, packed by `np.packbits`, and
`num_images`. A folder that has only a table has one `predictions.npz` beside it, with a member of packed bits for each
trial. An image that cannot be read has no bit. Nothing depends on these files but intervals and comparisons: one that
is missing or damaged is done without.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mnet_jax.workdir.files import DONE, Workdir
from mnet_jax.workdir.results import Row
from mnet_jax.workdir.whole import write_bytes

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError)

Bits = np.ndarray  # (images,) bool


def encoded(correct: Bits) -> bytes:
    """The content of a trial's file."""
    return _as_npz({"correct": np.packbits(correct), "num_images": np.int64(len(correct))})


def of_workdirs(workdirs: Sequence[str | os.PathLike], rows: Sequence[Row]) -> tuple[dict[str, Bits], list[str]]:
    """The bits of the done classifications that have sound ones, by trial, and a sentence about each damaged file.

    Bits are sound where they are as many as the row's `test_images` and give its `top1`.

    Args:
      workdirs: folders of sweeps, or of tables.
      rows: of them, as `results.results` reads them.
    """
    found: dict[str, Bits] = {}
    remarks: list[str] = []
    done = {
        row["trial"]: row for row in rows if row["status"] == DONE and row["test_images"] and row["top1"] is not None
    }
    for workdir in map(Workdir, workdirs):
        for name, bits in _of_workdir(workdir, done, remarks):
            if name not in found:
                found[name] = bits
    return found, remarks


def write_all(workdir: Workdir, correct: Mapping[str, Bits]) -> None:
    """Writes the one file of a folder that has only a table."""
    write_bytes(workdir.predictions_path, _as_npz({name: np.packbits(bits) for name, bits in correct.items()}))


def _of_workdir(workdir: Workdir, done: Mapping[str, Row], remarks: list[str]) -> Iterator[tuple[str, Bits]]:
    """Reads the files of one workdir, and adds to `remarks` what is damaged."""
    if workdir.has_trials():
        files = [(workdir.trial(name).predictions_path, {name: "correct"}) for name in done]
    else:
        files = [(workdir.predictions_path, {name: name for name in done})]
    for path, members in files:
        if os.path.lexists(path):
            try:
                with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                    for name, member in members.items():
                        if member in file:
                            yield name, _unpacked(file[member], done[name])
            except _UNREADABLE as error:
                reason = getattr(error, "strerror", None) or error
                remarks.append(f"{path} is damaged ({reason}): done without")


def _unpacked(packed: np.ndarray, row: Row) -> Bits:
    """The bits of one trial; ValueError where they contradict its row."""
    count = row["test_images"]
    bits = np.unpackbits(packed, count=count).astype(bool)
    if len(packed) != -(-count // 8) or abs(bits.mean() - row["top1"]) > 0.1 / count:
        raise ValueError(f"it contradicts the result of {row['trial']}")
    return bits


def _as_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()
