"""Data sets that are arrays in memory: what `register_dataset`'s function returns, checked."""

import dataclasses
import functools
import hashlib
import inspect
import io
import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from PIL import Image

from mnet_jax.data.registry import Facts
from mnet_jax.errors import UserError, explained

_SPLITS = ("train", "validation", "test")
_DIGITS = 16  # of a fingerprint


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Splits of images (N, height, width, 1 or 3) and labels (N,), and what they say of the data set."""

    facts: Facts
    differing: str | None
    left_out: str
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]]

    def sizes(self) -> dict[str, int]:
        return {split: len(labels) for split, (_, labels) in self.splits.items()}

    def examples(self, split: str) -> Iterator[tuple[int, dict]]:
        """A key and {"image": a PNG as a file object, "label", "file_name"} for each image of a split."""
        for i, (image, label) in enumerate(zip(*self.splits[split], strict=True)):
            file = io.BytesIO()
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
            file.seek(0)
            yield i, {"image": file, "label": int(label), "file_name": f"{split}[{i}]"}


_called: dict[int, tuple[Callable, Arrays]] = {}  # by the function's id; one at a time, they may be large


_said: dict[int, tuple[Callable, Facts, str | None]] = {}  # by the function's id


def facts(name: str, function: Callable[[], Mapping]) -> tuple[Facts, str | None]:
    """What the arrays of a registered data set say of it, and what shows that they are no squares, or None.

    Raises:
      UserError: as `read`.
    """
    if id(function) not in _said:
        found = read(name, function)
        _said[id(function)] = function, found.facts, found.differing
    return _said[id(function)][1:]


def forget() -> None:
    """Functions are called again: a notebook may have changed what they return."""
    _called.clear()
    _said.clear()


def read(name: str, function: Callable[[], Mapping]) -> Arrays:
    """What the function of a registered data set returns; kept until another function is asked.

    Raises:
      UserError: that is no data set; the message says which split or value is wrong.
    """
    if id(function) not in _called:
        _called.clear()
        with explained(_file(function)):
            found = function()
        _called[id(function)] = function, _checked(name, found)
    return _called[id(function)][1]


def _file(function: Callable) -> pathlib.Path:
    """Where a function stands, also one whose arguments were bound, or an object that can be called."""
    while isinstance(function, functools.partial):
        function = function.func
    is_object = not hasattr(function, "__code__") and not hasattr(function, "__wrapped__")
    return pathlib.Path(inspect.getfile(type(function) if is_object else inspect.unwrap(function)))


def _checked(name: str, found: Mapping) -> Arrays:
    if not isinstance(found, Mapping) or not {"train", "test"} <= set(found) <= set(_SPLITS):
        held = sorted(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise UserError(
            f"data set {name}: its function must return a dict of 'train', 'test' and, if there is one, 'validation'; "
            f"it returned {held}"
        )
    splits = {split: _pair(f"data set {name}, {split}", found[split]) for split in _SPLITS if split in found}
    shapes = {split: images.shape[1:] for split, (images, _) in splits.items()}
    if len(set(shapes.values())) > 1:
        raise UserError(f"data set {name}: images differ in shape between the splits: {shapes}")
    labels = np.concatenate([labels for _, labels in splits.values()])
    if labels.min() != 0:
        raise UserError(f"data set {name}: labels count from 0; the smallest is {labels.min()}")
    taught = np.unique(splits["train"][1])
    lacking = np.flatnonzero(taught != np.arange(len(taught)))
    if len(lacking) or labels.max() >= len(taught):
        label = lacking[0] if len(lacking) else len(taught)
        raise UserError(f"data set {name}: no training image has label {label}, and labels go up to {labels.max()}")
    height, width, channels = shapes["train"]
    is_square = height == width
    facts = Facts(
        num_classes=int(labels.max()) + 1,
        image_size=height if is_square else None,
        channels=channels,
        fingerprint=_fingerprint(splits),
    )
    return Arrays(facts, None if is_square else f"images are no squares ({width} x {height} pixels)", "", splits)


def _pair(where: str, pair) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, height, width, channels) and int64 labels (N,)."""
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise UserError(f"{where}: must be (images, labels), not {type(pair).__name__}")
    try:
        images, labels = map(np.asarray, pair)
    except ValueError as error:
        raise UserError(f"{where}: images differ in shape, or labels do ({error})") from error
    if images.dtype != np.uint8:
        raise UserError(f"{where}: images must be uint8, not {images.dtype}")
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,)):
        raise UserError(f"{where}: images must be (N, height, width) or (N, height, width, 1 or 3), not {images.shape}")
    if 0 in images.shape:
        raise UserError(f"{where}: there are no images: {images.shape}")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{where}: labels must be integers (N,), not {labels.dtype} {labels.shape}")
    if len(images) != len(labels):
        raise UserError(f"{where}: {len(images)} images and {len(labels)} labels")
    return images.reshape(*images.shape[:3], -1), labels.astype(np.int64)


def _fingerprint(splits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    found = hashlib.sha256()
    for split, (images, labels) in splits.items():
        found.update(f"{split} {images.shape}".encode())
        found.update(np.ascontiguousarray(images))
        found.update(labels)
    return found.hexdigest()[:_DIGITS]
