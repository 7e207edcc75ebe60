"""Access to the splits of a data set, and its preparation: array_record files, made without TensorFlow.

Built-in data sets and those of one's own are prepared by the builders of `builders`. A data set that TFDS itself has
prepared is read through `config.data.tfds_name`.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import inspect
import pathlib
import shutil
import sys
from collections.abc import Callable, Sequence

import filelock
import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format
from tensorflow_datasets.proto import tf_example_pb2

from mnet_jax.data import copies, own, provenance, registry
from mnet_jax.data.builders import SOURCES, Images
from mnet_jax.data.registry import Facts
from mnet_jax.errors import UserError, explained

SPLIT_FIELDS = ("train_split", "validation_split", "test_split")

_FORMAT = "array_record"
_tfds_known: dict[tuple[str, pathlib.Path], Facts] = {}


def split_fields(config) -> tuple[str, ...]:
    """The fields of `config.data` that name the splits which a trial reads; without training, the test split alone."""
    return SPLIT_FIELDS if config.train.epochs else ("test_split",)


def prepare(data) -> tfds.core.DatasetBuilder:
    """The builder of `config.data`, prepared: once, safely against interruption and against a second process.

    Data of one's own whose `config.data.fingerprint` names a prepared copy are opened without the raw images.

    Raises:
      UserError: raw files are missing (the message names them, their origin and their folder) or wrong, images have
        changed since their fingerprint was taken, or the data set is one of TFDS's own, not prepared yet, and
        TensorFlow is not installed.
    """
    if own.is_own(data):
        return _prepare_own(data)
    builder = _builder(data)
    if builder.is_prepared():
        return builder
    download_config = _download_config(data)
    _prepare(lambda: _builder(data), download_config)
    if data.tfds_name is None:
        provenance.record(pathlib.Path(builder.data_dir), SOURCES[data.name], _raw(data))
    return _builder(data)


def check_provenance(data) -> None:
    """Looks whether a prepared copy is one of the data that the config names.

    Raises:
      UserError: it was prepared by another class, or from other files.
    """
    if data.tfds_name is not None or (own.is_own(data) and not own.is_builder(data)):
        return
    if own.is_builder(data):
        if builder_class := registry.builder(data.name):
            copy = pathlib.Path(_registered_builder(data).data_dir)
            provenance.check(copy, builder_class, data.source_dir, f"data set {data.name}")
        return
    provenance.check(
        pathlib.Path(_builder(data).data_dir), SOURCES[data.name], _raw(data, False), f"data set {data.name}"
    )


def _raw(data, default: bool = True) -> str | None:
    """The folder of raw files of a built-in data set, if it is read from one; that which it has by default, too."""
    source = SOURCES[data.name]
    if not source.READS:
        return None
    return data.source_dir or (source.DEFAULT_SOURCE_DIR if default else None)


def _prepare_own(data) -> tfds.core.DatasetBuilder:
    folder = own.copy_folder(data, facts_of_builder(data).fingerprint if own.is_builder(data) else None)
    if not copies.is_prepared(folder):
        if own.is_builder(data):
            download_config = tfds.download.DownloadConfig(manual_dir=data.source_dir)
            try:
                with explained(pathlib.Path(inspect.getfile(type(_registered_builder(data)))), ImportError):
                    _prepare(lambda: _registered_builder(data), download_config)
                provenance.record(folder, registry.builder(data.name), data.source_dir)
            except ImportError as error:
                if "tensorflow" not in str(error) or importlib.util.find_spec("tensorflow") is not None:
                    raise
                raise UserError(
                    f"data set {data.name}: its builder needs TensorFlow, as TFDS does to encode an image that is an "
                    "array: yield a PNG or JPEG as io.BytesIO(bytes), or pip install 'mnet_jax[prepare]'"
                ) from error
        else:
            raw = own.raw(data, again=True)
            folder = own.copy_folder(data, raw.facts.fingerprint)
            home = folder.parent.parent
            _prepare(lambda: Images(raw, data_dir=home, file_format=_FORMAT), tfds.download.DownloadConfig())
    return _opened(folder)


def _opened(folder: pathlib.Path) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder_from_directory(folder)
    except (OSError, ValueError, json_format.ParseError) as error:
        raise UserError(f"{folder} is damaged ({error}): delete it, and it is prepared anew") from error


def _prepare(make: Callable[[], tfds.core.DatasetBuilder], download_config: tfds.download.DownloadConfig) -> None:
    home = pathlib.Path(make().data_dir).parent
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"config.data.data_dir: cannot write {home}: {error.strerror}") from error
    with filelock.FileLock(home / ".lock"):
        builder = make()
        if not builder.is_prepared():
            for leftover in home.glob("*incomplete*"):
                shutil.rmtree(leftover)
            with contextlib.redirect_stdout(sys.stderr):  # what a command prints is its result
                builder.download_and_prepare(download_config=download_config, file_format=_FORMAT)


def facts_of_tfds(data) -> Facts:
    """What a data set of TFDS's says of itself, where it is prepared.

    Raises:
      UserError: TFDS has no such data set, or its features are no images with labels.
    """
    key = data.tfds_name, copies.root(data)
    if key not in _tfds_known:
        builder = _builder(data)
        if not builder.is_prepared():
            return Facts()
        _tfds_known[key] = _facts_of(data.tfds_name, builder.info)
    return _tfds_known[key]


def facts_of_builder(data) -> Facts:
    """What a registered builder says of its data set, prepared or not.

    Raises:
      UserError: it is not registered here and there is no prepared copy, its features are no images with labels, it is
        of another version than `config.data.fingerprint`, or the prepared copy was made by other source.
    """
    folder = copies.root(data) / data.fingerprint if data.fingerprint else None
    if folder and copies.is_prepared(folder):
        return dataclasses.replace(_facts_of(data.name, _opened(folder).info), fingerprint=data.fingerprint)
    info = _registered_builder(data).info
    return dataclasses.replace(_facts_of(data.name, info), fingerprint=info.full_name)


def _registered_builder(data) -> tfds.core.DatasetBuilder:
    builder_class = registry.builder(data.name)
    if builder_class is None:
        raise own.unknown(data)
    with explained(pathlib.Path(inspect.getfile(builder_class))):
        builder = _instance(builder_class, str(copies.root(data)))
    if data.fingerprint not in (None, builder.info.full_name):
        raise UserError(
            f"data set {data.name}: the builder is {builder.info.full_name} now, config.data.fingerprint="
            f"{data.fingerprint!r}, and {own.copy_folder(data)} is not prepared"
        )
    return builder


def _facts_of(name: str, info: tfds.core.DatasetInfo) -> Facts:
    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    image, label = features.get("image"), features.get("label")
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8:
        raise UserError(f'data set {name}: its "image" must be an 8-bit tfds.features.Image, not {image}')
    if label is None or label.shape != () or not np.issubdtype(label.np_dtype, np.integer):
        raise UserError(f'data set {name}: its "label" must be a ClassLabel or an integer, not {label}')
    *sides, channels = image.shape
    is_square = len(sides) == 2 and sides[0] == sides[1]
    classes = isinstance(label, tfds.features.ClassLabel)
    return Facts(
        class_names=tuple(label.names) if classes and label.names else None,
        num_classes=label.num_classes if classes else None,
        image_size=sides[0] if is_square else None,
        channels=channels if channels in (1, 3) else None,
    )


def open_split(data, split: str) -> Sequence[dict]:
    """Random access to the examples of a split such as "train[:55000]": {"image": encoded bytes, "label": int}.

    Where the data set has masks, "label" is encoded bytes, too.
    """
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
    label = features["label"]
    is_mask = label.WhichOneof("kind") == "bytes_list"
    example = {
        "image": features["image"].bytes_list.value[0],
        "label": label.bytes_list.value[0] if is_mask else label.int64_list.value[0],
    }
    if "file_name" in features:
        example["file_name"] = features["file_name"].bytes_list.value[0]
    return example


def num_examples(builder: tfds.core.DatasetBuilder, split: str) -> int:
    try:
        return max(0, builder.info.splits[split].num_examples)
    except (ValueError, KeyError):
        return 0


@functools.lru_cache(maxsize=4)
def _instance(builder_class: type, data_dir: str) -> tfds.core.DatasetBuilder:
    return builder_class(data_dir=data_dir, file_format=_FORMAT)


def _builder(data) -> tfds.core.DatasetBuilder:
    if data.tfds_name is None and data.fingerprint:  # of an order of the classes that is not the sorted one
        home = str(copies.root(data) / "classes" / data.fingerprint)
        return SOURCES[data.name](data.class_names, data_dir=home, file_format=_FORMAT)
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
