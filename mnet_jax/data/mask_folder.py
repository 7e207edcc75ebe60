"""`config.data.name = "mask_folder"` and `"voc"`: a folder of images, each with a mask, the class of each pixel.

A mask_folder has `images/NAME.*`, `masks/NAME.png` and `classes.txt` (a name per line, that of label 0 first; or
`config.data.classes`). Its splits are folders in both (`train`; `val`, `valid` or `validation`; `test`), or lists
beside them (`train.txt` and so on) with a NAME per line; without either, all images are to train on. VOC's layout is
`JPEGImages/NAME.jpg`, `SegmentationClass/NAME.png` and `ImageSets/Segmentation/train.txt`, `val.txt`; its val is the
test split. What is missing of validation and test is cut from the training images as an image_folder's is.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import io
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mnet_jax.data import class_file, class_folders, image_file, mask_files, masks, orientation, split_folders, stored
from mnet_jax.data.decode import BadImage
from mnet_jax.data.mask_files import Pair
from mnet_jax.data.registry import Facts, with_classes
from mnet_jax.errors import UserError

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

_CLASSES = "classes.txt"
_VERSION = 1  # of what a prepared copy holds for the same files
_DIGITS = 16  # of a fingerprint


@dataclasses.dataclass(frozen=True)
class MaskFolder:
    """What a folder holds.

    Attributes:
      facts: of it.
      left_out: what is no part of it, as text.
      splits: paths of images and masks, relative to the folder.
      turn: images are set upright.
      differing: None, as images of any shape are taken.
    """

    folder: pathlib.Path
    facts: Facts
    left_out: str
    splits: Mapping[str, Sequence[tuple[str, str]]]
    turn: bool
    differing: None = None

    def sizes(self) -> dict[str, int]:
        return {split: len(members) for split, members in self.splits.items()}

    def examples(self, split: str) -> Iterator[tuple[bytes, dict]]:
        """A key and {"image": a file object, "label": the mask as a PNG, "file_name"} for each image of a split."""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            members = iter(self.splits[split])
            while piece := list(itertools.islice(members, image_file.PIECE)):
                for (path, _), (image, mask) in zip(piece, threads.map(self._read, piece), strict=True):
                    name = os.fsencode(path)
                    yield name, {"image": image, "label": mask, "file_name": name}

    def _read(self, member: tuple[str, str]) -> tuple[io.BytesIO, io.BytesIO]:
        image, mask = (self.folder / path for path in member)
        encoded = stored.as_stored(_bytes_of(image), str(image), self.turn)
        return io.BytesIO(encoded), masks.as_png(_labels_of(mask, _bytes_of(mask)))


def read(data, again: bool = False) -> MaskFolder:
    """What `config.data.source_dir` holds: read once, until a file comes or goes. All of every mask is looked at.

    Args:
      data: `config.data`: `name`, `source_dir`, `split_seed`, `validation_fraction`, `test_fraction`, `classes`,
        `class_names`, `exif_orientation`.
      again: read it once more, whatever is known of it.

    Raises:
      UserError: a folder, a list or a file is missing, or wrong: the message names it, and what would be right.
    """
    folder = split_folders.source(data)
    fractions = split_folders.fractions(data)
    names = _class_names(data, folder)
    if again:
        forget()
    stamp = mask_files.stamp(data.name, folder)
    turn = orientation.is_honoured(data)
    return _read(data.name, folder, names, data.split_seed, tuple(fractions.items()), turn, stamp)


def forget() -> None:
    """Folders are read again."""
    _read.cache_clear()


def _class_names(data, folder: pathlib.Path) -> tuple[str, ...]:
    if data.name == "voc":
        return VOC_CLASSES
    if order := class_file.order_of(data):
        names, where = order.names, f"config.data.classes={order.file!r}"
    elif (folder / _CLASSES).is_file():
        names, where = class_file.names_in(folder / _CLASSES, "class"), str(folder / _CLASSES)
    else:
        raise UserError(
            f"data set {data.name}: {folder} has no {_CLASSES} with the names of the classes, one a line, that of "
            "label 0 first; or set --config.data.classes=FILE"
        )
    if len(names) > masks.VOID:
        raise UserError(f"{where}: {len(names)} classes; a mask of 8 bits has room for {masks.VOID}, beside void")
    return names


@functools.lru_cache(maxsize=8)
def _read(
    name: str,
    folder: pathlib.Path,
    names: tuple[str, ...],
    seed: int,
    fractions: tuple[tuple[str, float], ...],
    turn: bool,
    stamp: tuple,
) -> MaskFolder:
    left_out = class_folders.LeftOut()
    found = mask_files.pairs(name, folder, left_out)
    everything = [pair for pairs in found.values() for pair in pairs]
    with concurrent.futures.ThreadPoolExecutor(image_file.THREADS) as threads:
        looks = list(threads.map(lambda pair: _look(folder, pair, len(names), turn), everything))
    if len(set().union(*(classes for _, classes in looks[: len(found["train"])]))) == 1:
        raise UserError(
            f"data set {name}: all masks of {folder} to train on have one class and void: where objects are 255, save "
            "them with the number of their class, as 255 is void"
        )
    missing = {split: fraction for split, fraction in fractions if split not in found and fraction}
    splits = {split: [(pair.image.path, pair.mask) for pair in pairs] for split, pairs in found.items()}
    mask_of = dict(splits["train"])
    parts = split_folders.cut([(path, 0) for path in mask_of], seed, missing)
    splits |= {split: [(path, mask_of[path]) for path, _ in members] for split, members in parts.items()}
    facts = with_classes(
        names,
        channels=1 if all(pair.image.is_gray for pair in everything) else 3,
        fingerprint=_fingerprint(found, [digest for digest, _ in looks], names, seed, missing, turn),
        has_masks=True,
        largest_side=max(max(pair.image.size) for pair in everything),
    )
    return MaskFolder(folder, facts, class_folders.text(left_out), splits, turn)


def _look(folder: pathlib.Path, pair: Pair, num_classes: int, turn: bool) -> tuple[bytes, set[int]]:
    """A digest of a mask's file and the classes in it.

    Raises:
      UserError: it is no mask of the image, or of these classes.
    """
    path = folder / pair.mask
    encoded = _bytes_of(path)
    labels = _labels_of(path, encoded)
    image = folder / pair.image.path
    stated = orientation.stated(_bytes_of(image)) if turn else orientation.UPRIGHT
    size = orientation.size(stated, *pair.image.size)
    if labels.shape != size[::-1]:
        hint = "; --config.data.exif_orientation=False leaves it as it is encoded" if size != pair.image.size else ""
        turned = " once EXIF's orientation is honoured" if size != pair.image.size else ""
        raise UserError(
            f"{path}: {labels.shape[1]} x {labels.shape[0]} pixels, and its image {image} has {size[0]} x {size[1]}"
            f"{turned}: a mask must have its image's size{hint}"
        )
    masks.check_labels(labels, num_classes, str(path))
    classes = set(np.unique(labels).tolist()) - {masks.VOID}
    if not classes:
        raise UserError(f"{path}: every pixel is void ({masks.VOID}): take it out with its image, or label it")
    return hashlib.sha256(encoded).digest(), classes


def _labels_of(path: pathlib.Path, encoded: bytes) -> np.ndarray:
    try:
        return masks.indices(encoded)
    except masks.NotIndices as error:
        raise UserError(f"{path} is {error}") from error
    except BadImage as error:
        raise UserError(f"{path} cannot be read as a PNG ({error}): save it anew") from error


def _bytes_of(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _fingerprint(
    found: Mapping[str, Sequence[Pair]],
    digests: Sequence[bytes],
    names: tuple[str, ...],
    seed: int,
    fractions: Mapping[str, float],
    turn: bool,
) -> str:
    """Of paths and content of the files, of the splits, of the classes, and of what decides what is cut from them."""
    parts = (_VERSION, names, sorted(fractions.items()), seed if fractions else None, turn)
    digest = hashlib.sha256(repr(parts).encode())
    members = ((split, pair) for split, pairs in found.items() for pair in pairs)
    for (split, pair), of_mask in sorted(zip(members, digests, strict=True), key=lambda one: one[0][1].image.path):
        digest.update(os.fsencode(f"{split}\0{pair.image.path}\0{pair.mask}\0") + pair.image.digest + of_mask)
    return digest.hexdigest()[:_DIGITS]
