"""`config.data.name = "image_folder"`: a folder of classes, or of `train/`, `val/` or `validation/`, and `test/`.

What is missing of validation and test is cut from the training images of each class: of n images,
`max(1, floor(n * fraction + 1/2))` go to test, as many by its own fraction to validation, test first, and at least one
is left to train on. Which ones is decided by a hash of `config.data.split_seed` and the file's path: another image
moves hardly any of the others. A fraction of 0 cuts nothing.

JPEG, PNG, WebP and BMP are told by their content, whatever their names end in. The orientation that EXIF states is
honoured (see `stored`), unless `config.data.exif_orientation` says otherwise.
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

from mnet_jax.data import class_file, class_folders, copies, image_file, orientation, split_folders, stored
from mnet_jax.data.class_file import Order
from mnet_jax.data.class_folders import LeftOut
from mnet_jax.data.image_file import ImageFile
from mnet_jax.data.registry import Facts, with_classes
from mnet_jax.errors import UserError

_LIKE_SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")  # in any case
_VERSION = 1  # of what a prepared copy holds for the same files
_DIGITS = 16  # of a fingerprint


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """What a folder holds.

    Attributes:
      facts: of it.
      differing: which images show that not all are squares of one size, or None.
      left_out: what is no part of it, as text.
      splits: paths relative to the folder, and labels.
      turn: images are set upright.
    """

    folder: pathlib.Path
    facts: Facts
    differing: str | None
    left_out: str
    splits: Mapping[str, Sequence[tuple[str, int]]]
    turn: bool

    def sizes(self) -> dict[str, int]:
        return {split: len(members) for split, members in self.splits.items()}

    def examples(self, split: str) -> Iterator[tuple[bytes, dict]]:
        """A key and {"image": a file object, "label", "file_name"} for each image of a split."""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            members = iter(self.splits[split])
            while piece := list(itertools.islice(members, image_file.PIECE)):
                for (path, label), encoded in zip(piece, threads.map(self._read, piece), strict=True):
                    name = os.fsencode(path)
                    yield name, {"image": io.BytesIO(encoded), "label": label, "file_name": name}

    def _read(self, member: tuple[str, int]) -> bytes:
        path = self.folder / member[0]
        try:
            return stored.as_stored(path.read_bytes(), str(path), self.turn)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error


def read(data, again: bool = False) -> ImageFolder:
    """What `config.data.source_dir` holds: read once, until a class or a file comes or goes.

    Args:
      data: `config.data`: `source_dir`, `data_dir`, `split_seed`, `validation_fraction`, `test_fraction`, `classes`,
        `class_names`, `exif_orientation`.
      again: read it once more, whatever is known of it.

    Raises:
      UserError: the folder is missing or holds no classes, splits differ in their classes, or from those that
        `config.data.classes` names, a class has no images, the fractions leave nothing to train on, or prepared copies
        would become a class.
    """
    folder = split_folders.source(data)
    fractions = split_folders.fractions(data)
    check_outside(data, copies.root(data), "config.data.data_dir")
    if again:
        forget()
    order, turn = class_file.order_of(data), orientation.is_honoured(data)
    return _read(folder, data.split_seed, tuple(fractions.items()), _stamp(folder), order, turn)


def check_outside(data, path: pathlib.Path, what: str) -> None:
    """Refuses a folder to write to where it would become a class.

    Raises:
      UserError: it is inside `config.data.source_dir`, whose folders are classes.
    """
    folder = pathlib.Path(data.source_dir).expanduser()
    if folder.is_dir() and _layout(folder)["train"] == folder and path.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"{what}={str(path)!r} is inside config.data.source_dir={data.source_dir!r}, where each folder is a class; "
            "choose another"
        )


def forget() -> None:
    """Folders are read again."""
    _read.cache_clear()


def _stamp(folder: pathlib.Path) -> tuple:
    """When the folders of the data set, its splits and its classes last got or lost an entry."""
    folders = [folder]
    for split in _layout(folder).values():
        folders += [split, *(split / name for name in class_folders.names(split))]
    return tuple(path.stat().st_mtime_ns for path in folders)


@functools.lru_cache(maxsize=8)
def _read(
    folder: pathlib.Path,
    seed: int,
    fractions: tuple[tuple[str, float], ...],
    stamp: tuple,
    order: Order | None,
    turn: bool,
) -> ImageFolder:
    left_out, layout = LeftOut(), _layout(folder)
    if folder not in layout.values():
        left_out[class_folders.BESIDE] += len(class_folders.names(folder, left_out)) - len(layout)
    names = class_folders.common_names(list(layout.values()), left_out)
    if not names:
        raise UserError(f"data set image_folder: {folder} has no class folders (train/<class>/*, or <class>/*)")
    if order:
        order.check(names, layout["train"])
        names = order.names
    found = {split: _images(folder, place, names, left_out) for split, place in layout.items()}
    missing = {split: fraction for split, fraction in fractions if split not in layout and fraction}
    splits = {split: [(file.path, file.label) for file in members] for split, members in found.items()}
    splits |= split_folders.cut(splits["train"], seed, missing)
    everything = [file for members in found.values() for file in members]
    differing = _differing(everything)
    facts = with_classes(
        names,
        image_size=None if differing else everything[0].size[0],
        channels=1 if all(file.is_gray for file in everything) else 3,
        fingerprint=_fingerprint(everything, seed, missing, order, turn),
    )
    return ImageFolder(folder, facts, differing, class_folders.text(left_out), splits, turn)


def _layout(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folder of classes of each split that there is.

    A folder `train` in which there are images but no folders is a class by that name.
    """
    train = folder / "train"
    if not (train.is_dir() and class_folders.names(train)):
        names = class_folders.names(folder)
        if set(names) <= {name for known in split_folders.NAMES.values() for name in known} and len(names) > 0:
            raise UserError(f"data set image_folder: {folder} has {', '.join(names)} and no train/<class>/*")
        splits = [name for name in names if name.casefold() in _LIKE_SPLITS and class_folders.names(folder / name)]
        if splits:
            raise UserError(
                f"data set image_folder: {', '.join(splits)} in {folder} have folders in them, as splits have: call "
                "them train, val and test"
            )
        return {"train": folder}
    return split_folders.places("image_folder", folder)


def _images(folder: pathlib.Path, place: pathlib.Path, names: Sequence[str], left_out: LeftOut) -> list[ImageFile]:
    """The images of a split, by class and path.

    Raises:
      UserError: a class has none.
    """
    listed = [
        (str((place / name).relative_to(folder) / path), label)
        for label, name in enumerate(names)
        for path in class_folders.files(place / name, left_out)
    ]
    found = image_file.look_at_all(folder, listed)
    left_out.update(kind for kind in found if isinstance(kind, str))
    images = [file for file in found if isinstance(file, ImageFile)]
    if empty := set(range(len(names))) - {file.label for file in images}:
        raise UserError(
            f"data set image_folder: no images for {class_folders.listed(names[label] for label in empty)} in {place}"
        )
    return images


def _differing(files: Sequence[ImageFile]) -> str | None:
    first = files[0]
    for file in files:
        if file.size[0] != file.size[1]:
            return f"{file.path} is no square ({file.size[0]} x {file.size[1]} pixels)"
        if file.size != first.size:
            return f"images differ in size ({first.path} has {first.size[0]} pixels a side, {file.path} {file.size[0]})"
    return None


def _fingerprint(
    files: Sequence[ImageFile], seed: int, fractions: Mapping[str, float], order: Order | None, turn: bool
) -> str:
    """Of paths, sizes and ends of the files, of what decides where images without a split go, and of what is unusual.

    That is an order of the classes that is not the sorted one, and images that are not set upright.
    """
    unusual = filter(None, (order and order.fingerprint(), not turn))
    parts = (_VERSION, sorted(fractions.items()), seed if fractions else None, *unusual)
    found = hashlib.sha256(repr(parts).encode())
    for file in sorted(files, key=lambda file: file.path):
        found.update(os.fsencode(file.path) + b"\0" + file.digest)
    return found.hexdigest()[:_DIGITS]
