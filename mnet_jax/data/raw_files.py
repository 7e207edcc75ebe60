"""The formats in which small data sets are handed out: gzipped idx files, and archives of records."""

import gzip
import math
import pathlib
import tarfile
import zlib
from collections.abc import Sequence

import numpy as np

from mnet_jax.errors import UserError

_UNSIGNED_BYTES = 8  # the type in the third byte of an idx file


def read_idx(path: pathlib.Path, shape: tuple[int, ...], count: int | None = None) -> np.ndarray:
    """The array in a gzipped idx file: two zeros, type, rank, big-endian sizes, then the data.

    Args:
      path: of the file.
      shape: of one example.
      count: of the examples, if that is known.

    Returns:
      (count, *shape), uint8.

    Raises:
      UserError: the file is damaged, or holds something else.
    """
    try:
        raw = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged: no whole gzip file") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or len(raw) < 4 + 4 * raw[3]:
        raise UserError(f"{path} is damaged: no idx file (it begins with {raw[:4]!r})")
    if raw[2] != _UNSIGNED_BYTES:
        raise UserError(f"{path}: values of idx type {raw[2]}; must be unsigned bytes, type {_UNSIGNED_BYTES}")
    sizes = tuple(int(size) for size in np.frombuffer(raw, ">u4", count=raw[3], offset=4))
    if not sizes or sizes[1:] != shape or count not in (None, sizes[0]):
        wanted = ", ".join(map(str, ("N" if count is None else count, *shape)))
        raise UserError(f"{path}: an array of sizes {sizes}; must be ({wanted})")
    data = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if data.size != math.prod(sizes):
        raise UserError(f"{path} is damaged: {data.size:,} values, and its head says {math.prod(sizes):,}")
    return data.reshape(sizes)


def read_records(path: pathlib.Path, members: Sequence[str], length: int) -> np.ndarray:
    """The records of several members of a tar archive.

    Args:
      path: of the archive.
      members: names in it.
      length: bytes of a record.

    Returns:
      (records, length), uint8.

    Raises:
      UserError: the archive is damaged, or a member is missing or no row of records.
    """
    parts = []
    try:
        with tarfile.open(path) as tar:
            for name in members:
                if name not in tar.getnames() or (file := tar.extractfile(name)) is None:
                    raise UserError(f"{path} lacks {name}")
                parts.append(file.read())
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged: no whole tar archive") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    for name, part in zip(members, parts, strict=True):
        if not part or len(part) % length:
            raise UserError(f"{path}: {name} has {len(part):,} bytes, no multiple of the {length:,} of a record")
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, length)


def check_labels(path: pathlib.Path, labels: np.ndarray, num_classes: int) -> None:
    """Looks at every label.

    Raises:
      UserError: one is out of range.
    """
    if len(labels) and labels.max() >= num_classes:
        number = int(labels.argmax())
        raise UserError(f"{path}: label {labels[number]} of image {number}; must be in 0 ... {num_classes - 1}")
