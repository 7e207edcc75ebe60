"""A config file, executed once: its config with the command line's overrides, and its sweep."""

import ast
import contextlib
import copy
import dataclasses
import inspect
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FrozenConfigDict, config_flags

from mnet_jax.config import own, presets
from mnet_jax.config.dotted import flatten
from mnet_jax.config.fields import BY_KEY
from mnet_jax.config.resolve import find_network, of_preset, unknown
from mnet_jax.errors import UserError, explained, nearest
from mnet_jax.models import registry


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """What a config file says.

    Attributes:
      path: of the file.
      preset: the word behind the colon of `--config FILE:WORD`, or "".
      config: what `get_config` returned, with the overrides, whose keys are in `config.chosen`.
      sweep: the file's generator of overrides, or None.
    """

    path: pathlib.Path
    preset: str
    config: ConfigDict
    sweep: Callable[[ConfigDict], Iterator[Mapping[str, Any]]] | None = None

    def trials(self) -> list[Mapping[str, Any]] | None:
        """The overrides of each trial, as the file's generator yields them; None where it has none.

        Raises:
          UserError: it yields something else than dicts, or raises; or a flag or an axis has no effect.
        """
        self._check_chosen("tune")
        if self.sweep is None:
            self._check_chosen("sweep")
            return None
        if axes := [key for key in self.config.chosen if key.startswith("sweep.")]:
            raise UserError(
                f"config.{axes[0]} has no effect: the trials are those that {self.path.name}'s sweep yields"
            )
        with explained(self.path), own.on_path(self.path.resolve().parent):
            found = self.sweep(self.config)
            if not (inspect.isgenerator(found) or isinstance(found, list | tuple)):
                raise UserError(f"{self.path}: sweep(config) must yield dicts with dotted keys, not {found!r}")
            return list(found)

    def _check_chosen(self, group: str) -> None:
        """Refuses a flag that every trial overrides, by an axis of `config.sweep` or `config.tune`."""
        flat = flatten(self.config)
        for key in self.config.chosen:
            if values := flat.get(f"{group}.{key}"):
                raise UserError(
                    f"config.{key}={flat[key]!r} has no effect: config.{group}.{key}={values!r} sets it in every "
                    f'trial; --config.{group}.{key}="()" takes that axis away'
                )

    def origins(self) -> Iterator[tuple[str, Any, str]]:
        """Every field of the config, its value, and who set it: flag, file, preset, network or default."""
        suggested = of_preset(self.config.preset)
        options = registry.options(find_network(self.config))
        flat = flatten(self.config)
        for key in [*(key for key in BY_KEY if key in flat), *(key for key in flat if key not in BY_KEY)]:
            value = flat[key]
            group, _, leaf = key.partition(".")
            if key in BY_KEY and BY_KEY[key].is_found:
                continue
            if group in ("sweep", "tune") and value == ():
                continue
            if group == "model" and key not in BY_KEY and leaf not in options:
                continue
            if key in self.config.chosen:
                origin = "flag"
            elif key not in suggested or value != suggested[key]:
                origin = "file" if value is not None else "default"
            elif key in BY_KEY:
                origin = "default" if value in (None, BY_KEY[key].default) else "preset"
            else:
                origin = "preset"
            if value is None and key in BY_KEY:
                value = BY_KEY[key].default
            elif value is None and leaf in options:
                value, origin = options[leaf].default, "network"
            yield key, value, origin


def load(path: pathlib.Path, preset: str = "", overrides: Sequence[tuple[str, str]] = ()) -> ConfigFile:
    """Executes a config file, and sets fields of its config.

    Args:
      path: of the file.
      preset: what `get_config` is called with, where not empty.
      overrides: dotted keys and values, as a command line has them.

    Raises:
      UserError: there is no such file, it has no `get_config`, that returns no ConfigDict, or it raises; or there is no
        such field, or a value is of another type.
    """
    if not path.is_file():
        there = sorted(str(file) for file in [*path.parent.glob("*.py"), *path.glob("*.py")])
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"config file {str(path)!r} {what}{nearest(str(path), there)}")
    path = path.absolute()
    module = own.execute(path)
    get_config, sweep = getattr(module, "get_config", None), getattr(module, "sweep", None)
    if not callable(get_config):
        raise UserError(f"{path}: a config file defines get_config(dataset), which returns a config")
    if sweep is not None and not callable(sweep):
        raise UserError(f"{path}: sweep must be a function of the config that yields dicts; it is {sweep!r}")
    with explained(path), own.on_path(path.resolve().parent):
        config = get_config(*filter(None, (preset,)))
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: get_config must return a ConfigDict, such as that of presets.get, not {config!r}")
    config = ConfigDict(config.to_dict()) if isinstance(config, FrozenConfigDict) else copy.deepcopy(config).unlock()
    if "folder" not in config:
        raise UserError(f"{path}: get_config must start from presets.get(...), which has every field")
    config.folder = str(path.resolve().parent)
    _add_options(config, dict(overrides))
    _override(config, overrides)
    config.chosen = tuple(key for key, _ in overrides)
    return ConfigFile(path, preset, config, sweep)


def _add_options(config: ConfigDict, overrides: Mapping[str, str]) -> None:
    """Makes the options of the config's and the command line's networks fields, so that it can set them."""
    config.model.name = overrides.get("model.name", config.model.name)
    swept = config.get("sweep", {}).get("model", {}).get("name", ())
    if "sweep.model.name" in overrides:
        with contextlib.suppress(ValueError, SyntaxError):  # the flag's own parser complains
            swept = ast.literal_eval(overrides["sweep.model.name"])
    for name in dict.fromkeys((config.model.name, *([swept] if isinstance(swept, str) else swept))):
        options = registry.options(find_network(config, name))
        presets.add_options(config, {key: option.kind for key, option in options.items()})


def _override(config: ConfigDict, overrides: Sequence[tuple[str, str]]) -> None:
    known = [key for key in dict.fromkeys((*flatten(config), *BY_KEY)) if key not in BY_KEY or not BY_KEY[key].is_found]
    for key, _ in overrides:
        if key in BY_KEY and BY_KEY[key].is_found:
            raise UserError(f"config.{key} cannot be set: {BY_KEY[key].help}")
        if key not in known:
            raise unknown(key, known)
    arguments = ["", *(f"--config.{key}={value}" for key, value in overrides)]
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=arguments, lock_config=False)
        values(arguments)
    except (flags.Error, TypeError, ValueError) as error:
        for key, value in overrides:
            if f"config.{key}=" in str(error):
                kind = _kind(config, key)
                hint = ", such as (1, 2)" if kind is tuple else " (true or false)" if kind is bool else ""
                raise UserError(f"config.{key}={value!r}: must be of type {kind.__name__}{hint}") from error
        raise UserError(" ".join(str(error).split()).removeprefix("flag --")) from error


def _kind(config: ConfigDict, key: str) -> type:
    group, _, leaf = key.rpartition(".")
    for name in filter(None, group.split(".")):
        config = config[name]
    return config.get_type(leaf)
