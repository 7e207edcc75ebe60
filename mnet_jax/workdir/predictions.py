"""What each trial makes of each test image, so that trials can be compared on the same images.

These are shares, (images,) in the order of the test split, whose mean is the score that trials are compared by: of
top-1 whether the image is right; of mIoU, which is no mean over images, mIoU + images * influence, so that drawing
images anew moves the mean as, in first order, it moves mIoU.

A trial's folder has `predictions.npz`: `correct`, bits packed by `np.packbits`, and `num_images`; or `confusions`, of
each image. A folder that has only a table has one `predictions.npz` beside it, with a member for each trial: packed
bits, or shares as float32. An image that cannot be read has none. Nothing depends on these files but intervals and
comparisons: what is missing, damaged or not of the table's results is done without.
"""

import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mnet_jax.config.tasks import scores_of
from mnet_jax.workdir.confusions import influence, intersection_over_union
from mnet_jax.workdir.files import DONE, Workdir
from mnet_jax.workdir.results import Row
from mnet_jax.workdir.whole import write_bytes

_DAMAGED = (OSError, ValueError, LookupError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
_PRECISION = 1e-5  # relative, of what is kept as float32

Shares = np.ndarray  # (images,), bool or float64


def encoded(correct: np.ndarray) -> bytes:
    """The content of a classification's file, from (images,) bool."""
    return _as_npz({"correct": np.packbits(correct), "num_images": np.int64(len(correct))})


def encoded_confusions(confusions: np.ndarray) -> bytes:
    """The content of a segmentation's file, from (images, classes, classes): pixels by class and by prediction."""
    return _as_npz({"confusions": confusions.astype(np.int32)})


def of_workdirs(workdirs: Sequence[str | os.PathLike], rows: Sequence[Row]) -> tuple[dict[str, Shares], list[str]]:
    """The shares of the done trials that have sound ones, by trial, and a sentence about each that is damaged.

    They are sound where they are as many as the row's `test_images` and give its score, and its error. One image alone
    has no shares: nothing can be drawn from it.

    Args:
      workdirs: folders of sweeps, or of tables.
      rows: of them, as `results.results` reads them.
    """
    found: dict[str, Shares] = {}
    remarks: list[str] = []
    done = {row["trial"]: row for row in rows if row["status"] == DONE and (row["test_images"] or 0) > 1}
    done = {name: row for name, row in done.items() if row.get(scores_of(row)[0].column) is not None}
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
        files = [(workdir.trial(name).predictions_path, [name], _of_trial) for name in done]
    else:
        files = [(workdir.predictions_path, list(done), _of_table)]
    for path, names, read in files:
        if not os.path.lexists(path):
            continue
        try:
            file = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        except _DAMAGED as error:
            remarks.append(_remark(path, error))
            continue
        for name in names:
            try:
                shares = read(file, done[name])
                if shares is not None:
                    yield name, _sound(shares, done[name])
            except _DAMAGED as error:
                remarks.append(_remark(path, error))


def _remark(path: os.PathLike, error: Exception) -> str:
    return f"{path} is damaged ({getattr(error, 'strerror', None) or error}): done without"


def _of_trial(file: Mapping[str, np.ndarray], row: Row) -> Shares:
    if scores_of(row)[0].is_share:
        return _unpacked(file["correct"], row)
    confusions = file["confusions"].astype(np.int64)
    miou = np.nanmean(intersection_over_union(confusions.sum(axis=0)))
    return miou + len(confusions) * influence(confusions)


def _of_table(file: Mapping[str, np.ndarray], row: Row) -> Shares | None:
    """None where the trial has no member."""
    if row["trial"] not in file:
        return None
    own = file[row["trial"]]
    return _unpacked(own, row) if scores_of(row)[0].is_share else own.astype(np.float64)


def _unpacked(packed: np.ndarray, row: Row) -> Shares:
    if packed.shape != (-(-row["test_images"] // 8),):
        raise _contradiction(row)
    return np.unpackbits(packed, count=row["test_images"]).astype(bool)


def _sound(shares: Shares, row: Row) -> Shares:
    """The same; ValueError where they contradict the row."""
    count, (score, *_) = row["test_images"], scores_of(row)
    tolerance = 0.1 / count if score.is_share else _PRECISION * row[score.column]
    if shares.shape != (count,) or not abs(shares.mean() - row[score.column]) <= tolerance:
        raise _contradiction(row)
    error = None if score.is_share else row.get(score.error)
    if error is not None and not math.isclose(shares.std(ddof=1) / math.sqrt(count), error, rel_tol=_PRECISION):
        raise _contradiction(row)
    return shares


def _contradiction(row: Row) -> ValueError:
    return ValueError(f"it contradicts the result of {row['trial']}")


def _as_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()
