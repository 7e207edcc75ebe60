"""What a data set says of itself before anything is prepared: its classes, the size and the channels of its images.

Light: reading a config asks for it, and loads no library that reads images.
"""

import functools
import pathlib
import sys

from mnet_jax.data.registry import Facts, with_classes
from mnet_jax.errors import UserError

_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_BUILT_IN = {
    "mnist5k": with_classes("0123456789", image_size=28, channels=1),
    "fashion_mnist": with_classes(_CLOTHES, image_size=28, channels=1),
    "cifar10": with_classes(_CIFAR10, image_size=32, channels=3),
    "scenes": with_classes(("background", *"0123456789"), image_size=96, channels=1, has_masks=True),
    "fashion_scenes": with_classes(("background", *_CLOTHES), image_size=96, channels=1, has_masks=True),
}
_IMAGENET_SPLITS = {"imagenet": ("train", "val"), "imagenet_validation": ("val",)}


def facts(data) -> Facts:
    """What the data set of `config.data` says of itself. Nothing is written; what reads a folder does it once.

    Args:
      data: `config.data`: `name`, `tfds_name`, `source_dir`, `data_dir`, `crop`, `image_size`, `fingerprint`; for
        class folders and masks `classes` and `class_names`; for data of one's own `split_seed`, `validation_fraction`,
        `test_fraction` and `exif_orientation`.

    Raises:
      UserError: the name is unknown, raw files are missing or wrong, images differ in size where `data.crop` does not
        bring them to one, or images with masks are larger than `data.image_size`.
    """
    found = _facts(data)
    if not found.has_masks:
        return found
    if data.crop == "inception":
        raise UserError(
            f"config.data.crop='inception': data set {data.name} has masks, which are cut on the device with their "
            "images (config.data.min_scale): set --config.data.crop=none"
        )
    if found.largest_side and data.image_size is not None and found.largest_side > data.image_size:
        raise UserError(
            f"config.data.image_size={data.image_size}: data set {data.name} has images of up to {found.largest_side} "
            f"pixels a side, the smallest that fits is --config.data.image_size={found.largest_side}"
        )
    return found


def _facts(data) -> Facts:
    if data.tfds_name is not None:
        from mnet_jax.data import sources

        return sources.facts_of_tfds(data)
    if data.name in _BUILT_IN:
        return _BUILT_IN[data.name]
    if data.name in _IMAGENET_SPLITS:
        return _of_imagenet(data)
    from mnet_jax.data import own

    if own.is_builder(data):
        from mnet_jax.data import sources

        return sources.facts_of_builder(data)
    found, differing = own.facts(data)
    if differing and data.crop != "inception":
        raise UserError(
            f"data set {data.name}: {differing}; config.data.crop={data.crop!r} needs squares of one size: set "
            "--config.data.crop=inception and --config.data.image_size=PIXELS"
        )
    return found


def look_again() -> None:
    """Forgets what was read of raw data: a process that lives long plans a sweep after they have changed."""
    for name in ("arrays", "image_folder", "mask_folder", "provenance"):
        if module := sys.modules.get(f"mnet_jax.data.{name}"):
            module.forget()


def _of_imagenet(data) -> Facts:
    from mnet_jax.data import class_file

    order = class_file.order_of(data)
    if order and data.fingerprint:
        return with_classes(order.names, fingerprint=data.fingerprint)
    if data.source_dir is None:
        return Facts()
    folders = [pathlib.Path(data.source_dir, split) for split in _IMAGENET_SPLITS[data.name]]
    if not all(folder.is_dir() for folder in folders):
        return Facts()
    names = _common_names(tuple(folders), tuple(folder.stat().st_mtime_ns for folder in folders))
    if order:
        order.check(names, folders[0])
        return with_classes(order.names, fingerprint=order.fingerprint())
    return with_classes(names) if names else Facts()


@functools.lru_cache(maxsize=8)
def _common_names(folders: tuple[pathlib.Path, ...], stamps: tuple[int, ...]) -> tuple[str, ...]:
    """Listed again where a class has come or gone."""
    from mnet_jax.data import class_folders

    return class_folders.common_names(folders)
