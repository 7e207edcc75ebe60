"""A config's axes to trials: resolved configs by name."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config.dotted import flatten
from mnet_jax.config.identity import trial_hash
from mnet_jax.config.resolve import resolve
from mnet_jax.errors import UserError

_FIRST_AXES = ("model.name", "model.alpha", "input_size")  # the others follow by name


def expand(config: ConfigDict, overrides: Iterator[Mapping[str, Any]] | None = None) -> dict[str, ConfigDict]:
    """The trials of a sweep: their resolved configs by name, in the order of the axes. The base is checked too.

    Args:
      config: the base, with the axes in `config.sweep`.
      overrides: dicts of dotted keys, one per trial, instead of the product of the axes.

    Raises:
      UserError: an axis names no field, or a trial's value is invalid or stands there twice.
    """
    resolve(config)
    if overrides is None:
        overrides = _product(axes(config))
    trials: dict[str, ConfigDict] = {}
    for override in overrides:
        resolved = resolve(config, override)
        name = trial_name(override, resolved)
        if name in trials:
            raise UserError(f"the sweep has trial {name} twice")
        trials[name] = resolved
    if not trials:
        raise UserError("the sweep has no trials")
    return trials


def axes(config: ConfigDict) -> dict[str, tuple]:
    """The swept fields, by dotted key, and their values; an empty tuple is no axis."""
    swept = flatten(config.sweep)
    for key, values in swept.items():
        if not isinstance(values, tuple):
            raise UserError(f"config.sweep.{key}={values!r}: must be a tuple of values")
    ordered = sorted(swept, key=lambda key: (_FIRST_AXES.index(key) if key in _FIRST_AXES else len(_FIRST_AXES), key))
    return {key: swept[key] for key in ordered if swept[key]}


def trial_name(override: Mapping[str, Any], resolved: ConfigDict) -> str:
    """Readable and unique: the overrides (by their last name where that is clear), then the hash of the config.

    Of a path the file's name is enough.
    """
    leaves = [key.rpartition(".")[2] for key in override]
    flat = flatten(resolved)
    parts = [
        f"{leaf if leaves.count(leaf) == 1 and leaf not in resolved else key}={str(flat[key]).rpartition('/')[2]}"
        for key, leaf in zip(override, leaves, strict=True)
    ]
    return f"{','.join(parts) or 'base'}-{trial_hash(resolved)}"


def _product(axes: Mapping[str, tuple]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))
