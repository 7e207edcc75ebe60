"""An image file of one's own: what its ends and its header say of it, without decoding it."""

import concurrent.futures
import dataclasses
import hashlib
import io
import itertools
import os
import pathlib
from collections.abc import Sequence

from PIL import Image

from mnet_jax.data import class_folders, stored
from mnet_jax.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
THREADS = 16
PIECE = 64  # files that a thread looks at in one go

_ENDS = 4096  # bytes at either end of a file that its fingerprint reads; of BMP, which is not compressed, it reads all


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image: its path relative to the data set's folder, and what its ends and its header say.

    Attributes:
      label: of its class; 0 where its classes are those of a mask.
      size: width and height as it is encoded, in pixels.
    """

    path: str
    label: int
    digest: bytes
    size: tuple[int, int]
    is_gray: bool


def look_at_all(folder: pathlib.Path, listed: Sequence[tuple[str, int]]) -> list[ImageFile | str]:
    """`look` at paths with labels, in several threads."""
    Image.init()  # all formats that Pillow knows, before threads ask for them
    pieces = [listed[i : i + PIECE] for i in range(0, len(listed), PIECE)]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        looked_at = threads.map(lambda piece: [look(folder, path, label) for path, label in piece], pieces)
        return list(itertools.chain.from_iterable(looked_at))


def look(folder: pathlib.Path, path: str, label: int) -> ImageFile | str:
    """The image, or which kind of file it is instead.

    Raises:
      UserError: the file cannot be read.
    """
    try:
        with open(folder / path, "rb") as file:
            head = file.read(_ENDS)
            num_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(num_bytes - _ENDS, 0))
            digest = hashlib.sha256(b"%d," % num_bytes + head + file.read(_ENDS)).digest()
            image = _opened(file, FORMATS)
            if image is not None:
                if image.format == "BMP":
                    digest = hashlib.sha256((folder / path).read_bytes()).digest()
                return ImageFile(path, label, digest, image.size, stored.is_gray(image))
            other = _opened(file, None)
    except OSError as error:
        raise UserError(f"cannot read {folder / path}: {error.strerror}") from error
    return class_folders.NO_IMAGE if other is None else other.format


def _opened(file: io.BufferedReader, formats: Sequence[str] | None) -> Image.Image | None:
    """The image with its header read, if it is one."""
    file.seek(0)
    try:
        return Image.open(file, formats=formats)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # it is the disk's
        return None
