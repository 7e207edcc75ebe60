"""What a trial starts from, its data and its weights, and what they say of its config."""

import copy
import functools
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config import own
from mnet_jax.config.durations import in_steps
from mnet_jax.config.resolve import resolve
from mnet_jax.config.tasks import TASKS
from mnet_jax.data import class_file
from mnet_jax.data import registry as data_sets
from mnet_jax.data.facts import facts
from mnet_jax.errors import UserError
from mnet_jax.models import registry

_MOST_STEPS = 2**31  # an int32 counts them


def settle(config: ConfigDict, overrides: Mapping[str, Any] | None = None) -> ConfigDict:
    """The resolved config of a trial; see `config.resolve`. Nothing is prepared, no weight file is matched.

    Raises:
      UserError: as `resolve`; or raw data or weights are missing, or contradict the config.
    """
    return resolve(config, overrides, _found)


def prepare(*configs: ConfigDict) -> None:
    """Prepares the data of resolved configs, and looks whether their batches, their networks and their weights fit.

    What several have in common is looked at once.

    Raises:
      UserError: raw files are missing or damaged, a split is empty, a trial run of tuning would choose on images of
        another split, a batch has more images than the training split, the network has no statistics to estimate anew,
        none that devices could have alone, or no head to train at a rate of its own, or the weights do not fit it.
    """
    num_train: dict[str, int] = {}
    checked: set[str] = set()
    for config in configs:
        trains = config.train.epochs > 0
        data = json.dumps([dict(config.data.items()), trains, config.tuning])
        if data not in num_train:
            num_train[data] = _prepare_data(config)
        if trains:
            _check_steps(config, num_train[data])
        network = json.dumps([config.model.to_dict(), config.data.channels, config.input_size, trains])
        needs_statistics = config.train.precise_bn_images or config.model.bn_devices == "local"
        if trains and needs_statistics and f"statistics {network}" not in checked:
            from mnet_jax.train import precise_bn

            precise_bn.check(config)
            checked.add(f"statistics {network}")
        if trains and config.optim.head_multiplier != 1.0 and f"head {network}" not in checked:
            from mnet_jax.train import optim

            optim.check_head(config)
            checked.add(f"head {network}")
        if config.train.init_from is not None and f"{config.train.init_from} {network}" not in checked:
            from mnet_jax.pretrained import recipes

            recipes.check(config)
            checked.add(f"{config.train.init_from} {network}")


def _prepare_data(config: ConfigDict) -> int:
    """Prepares the data of a config; returns how many images it trains on."""
    from mnet_jax.data import cache, checks, sources

    cache.check(config.data, sources.split_fields(config))
    if config.tuning:
        checks.check_apart(config.data)
    return sources.num_examples(sources.prepare(config.data), config.data.train_split) if config.train.epochs else 0


def _check_steps(config: ConfigDict, num_train: int) -> None:
    if config.train.batch_size > num_train:
        raise UserError(
            f"config.train.batch_size={config.train.batch_size}: data set {config.data.name} has {num_train} training "
            f"images (train_split={config.data.train_split!r}); the largest batch is "
            f"--config.train.batch_size={num_train}"
        )
    if (steps := in_steps(config, num_train).total) >= _MOST_STEPS:
        raise UserError(f"config.train.epochs={config.train.epochs}: {steps:,} steps; there can be {_MOST_STEPS - 1:,}")


def check_workdir(config: ConfigDict, path: pathlib.Path) -> None:
    """Refuses a workdir that would become a class of the images.

    Raises:
      UserError: it is inside a folder of classes.
    """
    if config.data.name == "image_folder" and config.data.source_dir is not None:
        from mnet_jax.data import image_folder

        image_folder.check_outside(config.data, path, "--workdir")


def _found(config: ConfigDict) -> dict[str, Any]:
    """What the data and the weights of a config say of it, by dotted key."""
    name, folder = config.data.name, pathlib.Path(config.folder or ".")
    if not data_sets.is_known(name) and ":" in name:
        _register_builder(name, folder)
    said = facts(_with_class_names(config.data, folder))
    if said.has_masks != (config.task == "segmentation"):
        has, needed = ("masks", "segmentation") if said.has_masks else ("a class for each image", TASKS[0])
        raise UserError(f"data set {name} has {has}: set --config.task={needed}, not {config.task}")
    if config.data.classes and said.class_names is None:
        raise UserError(
            f"config.data.classes={config.data.classes!r} orders the class folders of config.data.source_dir="
            f"{config.data.source_dir!r}, where there are none"
        )
    if said.num_classes == 1:
        only = f" ({said.class_names[0]})" if said.class_names else ""
        hint = "; config.data.source_dir must be the folder of the class folders" if name == "image_folder" else ""
        raise UserError(f"data set {name}: all images are of one class{only}{hint}")
    found = {
        "model.num_classes": said.num_classes,
        "data.class_names": said.class_names,
        "data.channels": said.channels,
        "data.fingerprint": said.fingerprint,
        "data.image_size": said.image_size,
    }
    path = config.train.init_from
    if path is None:
        return found
    if config.model.name not in registry.BUILT_IN:
        raise UserError(
            f"config.train.init_from={path!r}: weights of Keras, torchvision and timm are those of the networks here, "
            f"not of {config.model.name}"
        )
    if config.task != TASKS[0] and not config.train.epochs:
        raise UserError(
            f"config.train.init_from={path!r}: weights of Keras, torchvision and timm are those of networks that "
            f"classify, without the head of {config.model.name}: config.train.epochs=0.0 must be positive, to train it"
        )
    from mnet_jax.pretrained import files, recipes

    found["data.channels"] = 3 if config.data.channels is None else None  # as the weights have them
    recipe = recipes.recipe(path, config.model.name)
    file, part = files.split(path)
    fingerprint = _content_of(str(file), _changed(str(file))) + (f":{part}" if part else "")
    return found | recipe | {"train.init_fingerprint": fingerprint}


def _with_class_names(data: ConfigDict, folder: pathlib.Path) -> ConfigDict:
    """`config.data` with the names of the file that `config.data.classes` names, if it names one."""
    if data.classes:
        data = copy.deepcopy(data)
        data.class_names = class_file.read(data, folder)
    return data


def _register_builder(name: str, folder: pathlib.Path) -> None:
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():  # TFDS takes a class once, and a file may be executed again
        data_sets.register_builder(name, own.load_object(name, folder))


def _changed(path: str) -> tuple[int, int]:
    status = pathlib.Path(path).stat()
    return status.st_mtime_ns, status.st_size


@functools.cache
def _content_of(path: str, changed: tuple[int, int]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
