"""A config to the resolved config of one trial: every field has its value, and every value is checked."""

import copy
import functools
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config import options, own, passes, presets
from mnet_jax.config.dotted import flatten, set_field
from mnet_jax.config.fields import BY_KEY, FIELDS, honours_exif
from mnet_jax.config.source import check_unchanged, source_of
from mnet_jax.config.tasks import TASKS
from mnet_jax.errors import UserError, nearest
from mnet_jax.models import registry

_PLAIN = (bool, int, float, str, tuple, type(None))

Found = Callable[[ConfigDict], Mapping[str, Any]]

_OF_CLASSIFICATION = {  # what nothing else can have, and its value where it does nothing
    "data.crop": "none",
    "data.augment": "none",
    "data.random_erasing": 0.0,
    "train.label_smoothing": 0.0,
    "train.mixup_alpha": 0.0,
    "train.cutmix_alpha": 0.0,
}

_OF_THE_FILE = ("sweep", "tune", "tune_epochs", "options")  # what belongs to the config file, not to a trial


def resolve(config: ConfigDict, overrides: Mapping[str, Any] | None = None, found: Found = lambda _: {}) -> ConfigDict:
    """A locked config with the overrides (dotted keys) applied, fields at None filled in, every value checked.

    Args:
      config: as a preset or a config file gives it.
      overrides: values by dotted key.
      found: what data and weights say of a config, by dotted key. It fills fields at None, takes the place of what the
        preset only suggests, and must not contradict what else is set.

    Raises:
      UserError: a field is not known, has the wrong type or a value out of its range; the network does not have an
        option; the data or the weights contradict the config.
    """
    config = copy.deepcopy(config).unlock()
    overrides = dict(overrides or {})
    chosen = {*overrides, *config.get("chosen", ())}
    if "model.name" in overrides:
        set_field(config, "model.name", overrides.pop("model.name"))
    cls = find_network(config)
    known = registry.options(cls)
    presets.add_options(config, {name: option.kind for name, option in known.items()})
    for key, value in overrides.items():
        set_field(config, key, value)
    config = config.copy_and_resolve_references()
    _drop_what_is_the_files(config)
    _check_known(config)
    _keep_own_options(config, known, chosen)
    _check_values(config)
    _take(config, found(config), chosen)
    _fill_in(config, cls, known, chosen)
    _check_values(config)
    _check_together(config)
    _check_task(config, cls)
    config.chosen = ()
    return config.lock()


def without_axes(config: ConfigDict) -> ConfigDict:
    """A copy that lacks what no trial has: `resolve` makes the same of it, and need not copy thousands of values."""
    config = copy.deepcopy(config).unlock()
    _drop_what_is_the_files(config)
    return config


def check(config: ConfigDict) -> None:
    """Looks at what a config sets by itself, also where every trial of its sweep sets something else.

    Raises:
      UserError: a field or an axis is not known, or a value has the wrong type or is out of its range.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(f"a config is a ConfigDict, such as that of get_preset, not {config!r}")
    if "sweep" not in config:
        raise UserError("the config lacks config.sweep: an axis is taken away by an empty tuple")
    networks = [
        find_network(config, name)
        for name in (
            config.model.name,
            *config.sweep.get("model", {}).get("name", ()),
            *config.get("tune", {}).get("model", {}).get("name", ()),
        )
    ]
    fields = {key for key, field in BY_KEY.items() if not field.is_found}
    fields |= {f"model.{option}" for network in networks for option in registry.options(network)}
    for group in ("sweep", "tune"):
        for key, values in flatten(config.get(group, {})).items():
            if values and key not in fields:
                known = [f"{group}.{field}" for field in fields]
                raise UserError(f"unknown field config.{group}.{key}{nearest(f'{group}.{key}', known)}")
    config = config.copy_and_resolve_references().unlock()
    _drop_what_is_the_files(config)
    _check_known(config)
    _check_values(config)


def is_suggested(config: ConfigDict, key: str) -> bool:
    """True where a field has the value that the preset gave it, so that the user need not have chosen it."""
    suggested = of_preset(config.preset)
    return key in suggested and flatten(config)[key] == suggested[key]


@functools.cache
def of_preset(name: str | None) -> dict[str, Any]:
    """What a preset gives each field, by dotted key; nothing for None."""
    return flatten(presets.get(name)) if name in presets.PRESETS else {}


def find_network(config: ConfigDict, name: str | None = None) -> type:
    """The class of a network, loaded and made known by its name where that says where it stands.

    Args:
      config: its `folder` is where relative paths start; the working directory where that is None.
      name: of the network; by default `config.model.name`.

    Raises:
      UserError: there is no such network, or it is none.
    """
    name = config.model.name if name is None else name
    if isinstance(name, str) and ":" in name:
        cls = own.load_object(name, pathlib.Path(config.folder or "."))
        if registry.MODELS.get(name) is not cls:
            registry.MODELS.pop(name, None)  # of another folder
            registry.register(name, cls)
    return registry.find(name)


def unknown(key: str, known: Iterable[str], more: str = "") -> UserError:
    """An error that names the known field that is closest: by its whole key, or else by its last name."""
    leaves = {other.rpartition(".")[2]: other for other in known if not other.startswith(("sweep.", "tune."))}
    hint = nearest(key, known) or nearest(leaves.get(key.rpartition(".")[2], ""), known)
    return UserError(f"unknown field config.{key}{hint}{more}")


def _drop_what_is_the_files(config: ConfigDict) -> None:
    for name in _OF_THE_FILE:
        if name in config:
            del config[name]


def _check_known(config: ConfigDict) -> None:
    """Every field is declared, but for the options of networks."""
    known = set(BY_KEY)
    for key in flatten(config):
        if key not in known and not key.startswith("model."):
            of_networks = {f"model.{option}" for cls in registry.MODELS.values() for option in registry.options(cls)}
            raise unknown(key, known | of_networks, " (fields of your own: config.options.*)")
    if missing := sorted(known - set(flatten(config))):
        raise UserError(f"the config lacks config.{missing[0]}: start from presets.get(...), which has every field")


def _keep_own_options(config: ConfigDict, known: Mapping[str, registry.Option], chosen: set[str]) -> None:
    """Drops what the network does not have, if only the preset suggested it."""
    name = config.model.name
    for option, value in list(config.model.items()):
        if f"model.{option}" in BY_KEY or option in known:
            continue
        if value is not None and (f"model.{option}" in chosen or not is_suggested(config, f"model.{option}")):
            raise UserError(
                f"config.model.{option}={value!r}: {name} has no such option{nearest(option, known)} (it has "
                f"{', '.join(known) or 'none'})"
            )
        del config.model[option]


def _check_values(config: ConfigDict) -> None:
    """Types, ranges and choices of what is set."""
    kinds = {
        f"model.{name}": option.kind for name, option in registry.options(registry.find(config.model.name)).items()
    }
    for key, value in flatten(config).items():
        if value is None or not (key in kinds or key in BY_KEY):
            continue
        kind = kinds.get(key) or BY_KEY[key].kind
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UserError(f"config.{key}={value!r}: must be of type {kind.__name__}")
        if kind is tuple and not all(isinstance(part, _PLAIN) for part in value):
            raise UserError(f"config.{key}={value!r}: must be a tuple of numbers, words or such tuples")
        rule = BY_KEY[key].rule if key in BY_KEY else options.rule(config.model.name, key.partition(".")[2])
        if rule and (complaint := rule.complaint(value)):
            raise UserError(f"config.{key}={value!r}{complaint}")


def _take(config: ConfigDict, found: Mapping[str, Any], chosen: set[str]) -> None:
    """Fills in what data and weights say."""

    def may_change(key: str) -> bool:
        return key not in chosen and is_suggested(config, key)

    for key, value in found.items():
        group, leaf = key.split(".") if "." in key else (None, key)
        node = config[group] if group else config
        if value is None or node[leaf] == value:
            continue
        if node[leaf] is None or (BY_KEY.get(key) is not None and BY_KEY[key].is_found) or may_change(key):
            if key == "data.image_size" and may_change("input_size") and config.input_size == node[leaf]:
                config.input_size = value
            node[leaf] = value
        elif key == "model.num_classes" or (key == "data.image_size" and config.data.crop != "inception"):
            raise UserError(f"config.{key}={node[leaf]!r}: in data set {config.data.name} it is {value}")


def _fill_in(config: ConfigDict, cls: type, known: Mapping[str, registry.Option], chosen: set[str]) -> None:
    """Gives the fields at None what the network's class, or the declaration, says."""
    for name, option in known.items():
        if config.model.get(name) is None:
            if option.is_required:
                raise UserError(f"config.model.{name} is not set: {cls.__name__} has no default for it")
            config.model[name] = option.default
    for field in FIELDS:
        if field.follows:
            group, leaf = field.key.split(".")
            config[group][leaf] = field.default if config[group][leaf] is None else config[group][leaf]
    if config.data.exif_orientation == honours_exif(flatten(config)):
        config.data.exif_orientation = None
    follows = "input_size" not in chosen and "data.image_size" in chosen and is_suggested(config, "input_size")
    if config.input_size is None or follows:
        config.input_size = config.data.image_size
    for key in ("data.image_size", "data.channels", "model.num_classes", "data.name"):
        group, leaf = key.split(".")
        if config[group][leaf] is None:
            raise UserError(f"config.{key} is not set, and the data set {config.data.name!r} does not say it")
    if config.model.name not in registry.BUILT_IN:
        source = source_of(cls)
        check_unchanged(source)
        config.model.update(
            path=str(source.path), spec=source.spec, fingerprint=source.fingerprint, source=source.digest
        )


def _check_task(config: ConfigDict, cls: type) -> None:
    """What the network is for, and what only a classification can have."""
    if (own := registry.task(cls)) != config.task:
        fitting = [name for name, cls in registry.MODELS.items() if registry.task(cls) == config.task]
        raise UserError(
            f"config.model.name={config.model.name!r} is for {own}, and config.task={config.task!r}: networks for that "
            f"are {', '.join(fitting) or 'of your own, with TASK = ' + repr(config.task)}"
        )
    if config.task == TASKS[0]:
        return
    for key, value in _OF_CLASSIFICATION.items():
        group, leaf = key.split(".")
        if config[group][leaf] != value:
            raise UserError(f"config.{key}={config[group][leaf]!r}: must be {value!r} with config.task={config.task!r}")


def _check_together(config: ConfigDict) -> None:
    """What no field shows alone."""
    channels = config.data.channels
    for key in ("mean", "std"):
        values = config.data[key]
        if len(values) not in (1, channels):
            hint = "; --config.data.channels=3 reads gray images as RGB" if channels == 1 else ""
            raise UserError(
                f"config.data.{key}={values!r}: must have 1 or config.data.channels={channels} values{hint}"
            )
        if not all(isinstance(value, float | int) and math.isfinite(value) for value in values):
            raise UserError(f"config.data.{key}={values!r}: must be numbers")
        config.data[key] = tuple(map(float, values))
    if min(config.data.std) <= 0:
        raise UserError(f"config.data.std={config.data.std!r}: must be positive")
    if config.data.crop == "shift" and config.data.crop_padding >= config.data.image_size:
        raise UserError(
            f"config.data.crop_padding={config.data.crop_padding}: must be smaller than the images "
            f"(config.data.image_size={config.data.image_size})"
        )
    if config.data.min_scale > config.data.max_scale:
        raise UserError(
            f"config.data.min_scale={config.data.min_scale}: must not be above config.data.max_scale="
            f"{config.data.max_scale}"
        )
    config.data.eval_scales = passes.checked("config.data.eval_scales", config.data.eval_scales)
    if config.data.cache_side is not None and config.data.crop != "inception":
        raise UserError(
            f"config.data.cache_side={config.data.cache_side}: shrinks large images for --config.data.crop=inception; "
            f"it is {config.data.crop!r}"
        )
    if 0 < config.train.precise_bn_images < config.train.batch_size:
        raise UserError(
            f"config.train.precise_bn_images={config.train.precise_bn_images}: must be 0, or one batch at least "
            f"(config.train.batch_size={config.train.batch_size})"
        )
    if config.train.frozen_bn and config.train.precise_bn_images:
        raise UserError(
            f"config.train.precise_bn_images={config.train.precise_bn_images}: must be 0 with "
            "config.train.frozen_bn=True, which leaves batch statistics as they are"
        )
    if config.train.frozen_bn and config.train.init_from is None:
        raise UserError("config.train.frozen_bn=True: config.train.init_from must name weights, with the statistics")
    if config.model.name in registry.BUILT_IN and config.model.bn_group and config.model.layers == "textbook":
        raise UserError(
            f"config.model.bn_group={config.model.bn_group}: must be 0 with config.model.layers='textbook', as "
            "flax's BatchNorm knows no groups; 'fast' does"
        )
    if config.train.epochs == 0 and config.train.init_from is None:
        raise UserError("config.train.epochs=0.0: must be positive where config.train.init_from names no weights")
