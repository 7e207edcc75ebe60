"""A config's axes to trials: resolved configs by name."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mnet_jax.config.dotted import flatten
from mnet_jax.config.identity import trial_hash
from mnet_jax.config.resolve import check, without_axes
from mnet_jax.data.facts import look_again
from mnet_jax.errors import UserError
from mnet_jax.train.inputs import settle
from mnet_jax.workdir.files import Workdir

_FIRST_AXES = ("model.name", "model.alpha", "input_size")  # the others follow by name

_LONGEST_LABEL = 200  # bytes; a name may have 255


class Named(NamedTuple):
    """A trial: its overrides by dotted key, its name, its resolved config."""

    override: Mapping[str, Any]
    name: str
    config: ConfigDict


class Grid:
    """The trials of a sweep, as far as they are known; here from the start, resolved configs by name."""

    def __init__(self, trials: Mapping[str, ConfigDict]):
        self._trials = trials

    def known(self, workdir: Workdir) -> dict[str, ConfigDict]:
        """All that can be trained now; a trial that goes on where a trial run ended stands there once."""
        return self.runs(workdir) | self.finals(workdir)

    def runs(self, workdir: Workdir) -> dict[str, ConfigDict]:
        """Trial runs, which `config.tune` asks for, by the names that they have in the workdir."""
        return {}

    def finals(self, workdir: Workdir) -> dict[str, ConfigDict]:
        """The trials that are known, by the names that they have in the workdir."""
        return in_workdir(self._trials, workdir)

    def waiting(self, workdir: Workdir) -> dict[str, ConfigDict]:
        """The trials that wait for a choice, by what is known of their names, with one of the values."""
        return {}

    def tuning(self, workdir: Workdir) -> dict[str, Any] | None:
        """What `tuning.json` holds; None where nothing is tuned."""
        return None

    def complaints(self, workdir: Workdir) -> list[str]:
        """Why trials wait that nothing will be trained for."""
        return []


def in_workdir(trials: Mapping[str, ConfigDict], workdir: Workdir) -> dict[str, ConfigDict]:
    """Trials by the names that they have in the workdir."""
    return dict(zip(workdir.known_as(trials), trials.values(), strict=True))


def expand(
    config: ConfigDict,
    overrides: Iterable[Mapping[str, Any]] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, ConfigDict]:
    """The trials of a sweep: their resolved configs by name, in the order of the axes.

    Args:
      config: the base, with the axes in `config.sweep`; the trials have its own values where `config.tune` has several.
      overrides: dicts of dotted keys, one per trial, instead of the product of the axes.
      say: told of trials that differ in nothing that has an effect, of which only the first is kept.

    Raises:
      UserError: an axis names no field, a value of the base or of a trial is invalid, or the same values stand there
        twice.
    """
    return {trial.name: trial.config for trial in distinct(config, overrides, say)}


def distinct(
    config: ConfigDict, overrides: Iterable[Mapping[str, Any]] | None, say: Callable[[str], None] = lambda _: None
) -> list[Named]:
    """The trials of a sweep, each once; see `expand`."""
    check(config)
    look_again()
    trials: dict[str, Named] = {}
    seen: dict[str, Named] = {}
    base = without_axes(config)
    for override in product(axes(config)) if overrides is None else overrides:
        if not isinstance(override, Mapping) or not all(isinstance(key, str) for key in override):
            raise UserError(f"the overrides of a trial must be a dict with dotted keys, not {override!r}")
        if of_the_file := [key for key in override if key.startswith(("sweep.", "tune.", "options."))]:
            raise UserError(f"config.{of_the_file[0]}: a trial has no such field")
        name, resolved = named(base, override)
        same = seen.setdefault(trial_hash(resolved), Named(override, name, resolved))
        if same.config.model.get("fingerprint") != resolved.model.get("fingerprint"):
            raise UserError(f"two networks are called {resolved.model.spec}: rename a file or a class")
        if name in trials:
            raise UserError(f"the sweep has trial {name} twice")
        if same.config is not resolved:
            say(f"{name} is the same trial as {same.name}: what differs has no effect there")
            continue
        trials[name] = same
    if not trials:
        raise UserError("the sweep has no trials")
    return list(trials.values())


def named(config: ConfigDict, override: Mapping[str, Any]) -> tuple[str, ConfigDict]:
    """The name and the resolved config of one trial; see `train.inputs.settle`."""
    resolved = settle(config, override)
    return trial_name(override, resolved), resolved


def axes(config: ConfigDict, group: str = "sweep") -> dict[str, tuple]:
    """The fields of `config.sweep` or `config.tune`, by dotted key, and their values; an empty tuple is no axis."""
    swept = flatten(config.get(group, {}))
    for key, values in swept.items():
        if not isinstance(values, tuple):
            raise UserError(f"config.{group}.{key}={values!r}: must be a tuple of values")
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


def product(axes: Mapping[str, tuple]) -> Iterator[dict[str, Any]]:
    """Overrides, by dotted key, for every combination of the axes' values."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))
