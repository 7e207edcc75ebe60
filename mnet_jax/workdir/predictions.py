"""What each trial makes of each test image, so that trials can be compared on the same images.

These are shares, (images,) in the order of the test split, whose mean is the score that trials are compared by: of
top-1 whether the image is right; of mIoU, which is no mean over images, mIoU + images * influence, so that drawing
images anew moves the mean as, in first order, it moves mIoU.

A trial's folder has `predictions.npz`: `correct`, bits packed by `np.packbits`, and `num_images`; or `confusions` and
`influence` (`train/tasks/segmentation.py`). A folder that has only a table has one `predictions.npz` beside it, with a
member for each trial: packed bits, or shares as float32. An image that cannot be read has none. Nothing depends on
these files but intervals and comparisons: one that is missing or damaged is done without.
"""

import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mnet_jax.config.tasks import scores_of
from mnet_jax.workdir.files import DONE, Workdir
from mnet_jax.workdir.results import Row
from mnet_jax.workdir.whole import write_bytes

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError)
_PRECISION = 1e-5  # relative, of what is kept as float32

Shares = np.ndarray  # (images,), bool or float64


def encoded(correct: np.ndarray) -> bytes:
    """The content of a classification's file, from (images,) bool."""
    return _as_npz({"correct": np.packbits(correct), "num_images": np.int64(len(correct))})


def of_workdirs(workdirs: Sequence[str | os.PathLike], rows: Sequence[Row]) -> tuple[dict[str, Shares], list[str]]:
    """The shares of the done trials that have sound ones, by trial, and a sentence about each damaged file.

    They are sound where they are as many as the row's `test_images` and give its score, and its error.

    Args:
      workdirs: folders of sweeps, or of tables.
      rows: of them, as `results.results` reads them.
    """
    found: dict[str, Shares] = {}
    remarks: list[str] = []
    done = {
        row["trial"]: row
        for row in rows
        if row["status"] == DONE and row["test_images"] and row[scores_of(row)[0].column] is not None
    }
    for workdir in map(Workdir, workdirs):
        for name, shares in _of_workdir(workdir, done, remarks):
            if name not in found:
                found[name] = shares
    return found, remarks


def write_all(workdir: Workdir, shares: Mapping[str, Shares]) -> None:
    """Writes the one file of a folder that has only a table."""
    kept = {name: np.packbits(own) if own.dtype == bool else own.astype(np.float32) for name, own in shares.items()}
    write_bytes(workdir.predictions_path, _as_npz(kept))


def _of_workdir(workdir: Workdir, done: Mapping[str, Row], remarks: list[str]) -> Iterator[tuple[str, Shares]]:
    """Reads the files of one workdir, and adds to `remarks` what is damaged."""
    if workdir.has_trials():
        files = [(workdir.trial(name).predictions_path, {name: None}) for name in done]
    else:
        files = [(workdir.predictions_path, {name: name for name in done})]
    for path, members in files:
        if os.path.lexists(path):
            try:
                with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                    for name, member in members.items():
                        if member is None or member in file:
                            yield name, _sound(_read(file, member, done[name]), done[name])
            except _UNREADABLE as error:
                reason = getattr(error, "strerror", None) or error
                remarks.append(f"{path} is damaged ({reason}): done without")


def _read(file: Mapping[str, np.ndarray], member: str | None, row: Row) -> Shares:
    """The shares of one trial, from a member or from the trial's own file."""
    count, (score, *_) = row["test_images"], scores_of(row)
    if score.error:
        return file[member].astype(np.float64) if member else row[score.column] + count * file["influence"]
    packed = file[member or "correct"]
    if len(packed) != -(-count // 8):
        raise _contradiction(row)
    return np.unpackbits(packed, count=count).astype(bool)


def _sound(shares: Shares, row: Row) -> Shares:
    """The same; ValueError where they contradict the row."""
    count, (score, *_) = row["test_images"], scores_of(row)
    tolerance = _PRECISION * row[score.column] if score.error else 0.1 / count
    if len(shares) != count or not abs(shares.mean() - row[score.column]) <= tolerance:
        raise _contradiction(row)
    error = row.get(score.error)
    if error is not None and not math.isclose(shares.std(ddof=1) / math.sqrt(count), error, rel_tol=_PRECISION):
        raise _contradiction(row)
    return shares


def _contradiction(row: Row) -> ValueError:
    return ValueError(f"it contradicts the result of {row['trial']}")


def _as_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()
