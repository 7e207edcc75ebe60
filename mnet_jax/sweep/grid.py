"""A config's axes to trials: resolved configs by name."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config.dotted import flatten
from mnet_jax.config.identity import trial_hash
from mnet_jax.config.resolve import check
from mnet_jax.data.facts import look_again
from mnet_jax.errors import UserError
from mnet_jax.train.inputs import settle

_FIRST_AXES = ("model.name", "model.alpha", "input_size")  # the others follow by name

_LONGEST_LABEL = 200  # bytes; a name may have 255


def expand(
    config: ConfigDict,
    overrides: Iterable[Mapping[str, Any]] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, ConfigDict]:
    """The trials of a sweep: their resolved configs by name, in the order of the axes.

    Args:
      config: the base, with the axes in `config.sweep`.
      overrides: dicts of dotted keys, one per trial, instead of the product of the axes.
      say: told of trials that differ in nothing that has an effect, of which only the first is kept.

    Raises:
      UserError: an axis names no field, a value of the base or of a trial is invalid, or the same values stand there
        twice.
    """
    check(config)
    look_again()
    trials: dict[str, ConfigDict] = {}
    seen: dict[str, str] = {}
    for override in _product(axes(config)) if overrides is None else overrides:
        if not isinstance(override, Mapping) or not all(isinstance(key, str) for key in override):
            raise UserError(f"the overrides of a trial must be a dict with dotted keys, not {override!r}")
        if of_the_file := [key for key in override if key.startswith(("sweep.", "options."))]:
            raise UserError(f"config.{of_the_file[0]}: a trial has no such field")
        resolved = settle(config, override)
        name = trial_name(override, resolved)
        digest = trial_hash(resolved)
        same = trials.get(seen.get(digest))
        if same is not None and same.model.get("fingerprint") != resolved.model.get("fingerprint"):
            raise UserError(f"two networks are called {resolved.model.spec}: rename a file or a class")
        if name in trials:
            raise UserError(f"the sweep has trial {name} twice")
        if same is not None:
            say(f"{name} is the same trial as {seen[digest]}: what differs has no effect there")
            continue
        seen[digest] = name
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
    return f"{_cut(','.join(parts)) or 'base'}-{trial_hash(resolved)}"


def _cut(label: str) -> str:
    """A label that file systems take."""
    encoded = label.encode()
    return label if len(encoded) <= _LONGEST_LABEL else encoded[:_LONGEST_LABEL].decode(errors="ignore") + "..."


def _product(axes: Mapping[str, tuple]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))
