"""Values that are chosen per cell on the validation split: `config.tune`.

A cell is what trials share that differ in nothing but their seeds. In each, all values are tried at its first seed, by
trial runs that never see the test split; then the cell's trials are trained with the best. What was tried and what is
best is read from the folders of the trial runs, so the same command goes on wherever it was stopped.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config.identity import trial_hash
from mnet_jax.config.resolve import without_axes
from mnet_jax.errors import UserError
from mnet_jax.sweep import grid
from mnet_jax.sweep.choice import Tried, Values, beyond, choose, is_at_edge, look
from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.results import SEEDS

_OF_THE_IMAGES = (  # what decides on which images a choice is made
    *("data.name", "data.tfds_name", "data.train_split", "data.validation_split", "data.test_split"),
    *("data.validation_fraction", "data.test_fraction", "data.split_seed", "data.classes"),
)

_KnownAs = Callable[[Iterable[str]], list[str]]  # see `Workdir.naming`


@dataclasses.dataclass(frozen=True)
class _Run:
    """A trial run: the values that it tries, its name, and its resolved config."""

    values: Values
    name: str
    config: ConfigDict


@dataclasses.dataclass(frozen=True)
class Cell:
    """Trials that differ in nothing but their seeds.

    Attributes:
      label: what tells it from other cells.
      override: the same, by dotted key.
      seeds: the rest of each trial's overrides.
    """

    label: str
    override: Values
    seeds: tuple[Values, ...]


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was tried in a cell, and the best of it.

    Attributes:
      cell: it is about.
      tried: every trial run, in the order of the values.
      best: of them; None until all have ended, and where all diverged.
      at_edge: fields whose best value is the smallest or the largest that was tried.
      trials: the names of the cell's trials; empty where nothing is chosen.
    """

    cell: Cell
    tried: tuple[Tried, ...]
    best: Tried | None
    at_edge: tuple[str, ...] = ()
    trials: tuple[str, ...] = ()

    def complaint(self) -> str | None:
        """Why nothing is chosen; None where something is."""
        if self.best is not None:
            return None
        if waiting := sum(not one.has_ended for one in self.tried):
            return f"{self.cell.label}: nothing is chosen: {waiting} of {len(self.tried)} trial runs have not ended"
        return f"{self.cell.label}: nothing is chosen: all {len(self.tried)} trial runs diverged"


class Tuning(grid.Grid):
    """The trial runs and the trials of a sweep whose config has axes in `config.tune`.

    Attributes:
      axes: the tuned fields, by dotted key, and their values.
    """

    def __init__(
        self,
        config: ConfigDict,
        overrides: Iterable[Mapping[str, Any]] | None = None,
        extend: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ):
        """Resolves and checks what can be trained.

        Args:
          config: the base, with the axes in `config.sweep` and `config.tune`.
          overrides: dicts of dotted keys, one per trial, instead of the product of the axes.
          extend: where a best value is at the edge of its range, try the next one.
          say: told of trials that differ in nothing that has an effect.

        Raises:
          UserError: as `grid.expand`; or a field cannot be tuned, or there is no validation split of its own.
        """
        self.axes = grid.axes(config, "tune")
        self._config, self._extend = config, extend
        self._base = without_axes(config)
        trials = grid.distinct(config, overrides, say)
        self._check(trials)
        self._names: dict[str, str] = {}  # by hash
        self._settled: dict[str, tuple[str, ConfigDict]] = {}  # by overrides
        self._cells = _cells(trials)
        self._runs = [[self._run(cell, values) for values in grid.product(self.axes)] for cell in self._cells]

    def runs(self, workdir):
        found, known_as = {}, workdir.naming()
        for cell, runs in zip(self._cells, self._runs, strict=True):
            found |= {run.name: run.config for run in self._look(workdir, known_as, cell, runs)[0]}
        return grid.in_workdir(found, workdir)

    def finals(self, workdir):
        found: dict[str, ConfigDict] = {}
        for choice in self.choices(workdir):
            if choice.best is not None:
                found |= self._trials_of(choice.cell, choice.best.values)
        return grid.in_workdir(found, workdir)

    def waiting(self, workdir):
        found = {}
        for choice in self.choices(workdir):
            if choice.best is None:
                trials = self._trials_of(choice.cell, choice.tried[0].values).values()
                for seed, trial in zip(choice.cell.seeds, trials, strict=True):
                    own = grid.trial_name(choice.cell.override | seed, trial).rpartition("-")[0]
                    found[f"{own}, {' and '.join(self.axes)} not chosen yet"] = trial
        return found

    def tuning(self, workdir):
        return {"axes": self.axes, "cells": [_as_dict(choice) for choice in self.choices(workdir)]}

    def complaints(self, workdir):
        return list(filter(None, (choice.complaint() for choice in self.choices(workdir))))

    def choices(self, workdir: Workdir) -> list[Choice]:
        """What the files say of each cell."""
        known_as = workdir.naming()
        return [self._look(workdir, known_as, *pair)[1] for pair in zip(self._cells, self._runs, strict=True)]

    def _look(
        self, workdir: Workdir, known_as: _KnownAs, cell: Cell, runs: Sequence[_Run]
    ) -> tuple[list[_Run], Choice]:
        """The trial runs of a cell, with those beyond an edge that are wanted or there, and the choice among them."""
        choice = self._choice(workdir, known_as, cell, runs)
        moved = [beyond(key, choice.best, choice.tried) for key in choice.at_edge]
        added = [self._run(cell, values) for values in moved if values]
        added = [run for run in added if self._extend or workdir.trial(*known_as([run.name])).has_config()]
        runs = [*runs, *added]
        return runs, self._choice(workdir, known_as, cell, runs) if added else choice

    def _choice(self, workdir: Workdir, known_as: _KnownAs, cell: Cell, runs: Sequence[_Run]) -> Choice:
        names = known_as([run.name for run in runs])
        tried = tuple(look(workdir.trial(name), run.values) for run, name in zip(runs, names, strict=True))
        best = choose(tried)
        if best is None:
            return Choice(cell, tried, None)
        at_edge = tuple(key for key in self.axes if is_at_edge(key, best, tried))
        return Choice(cell, tried, best, at_edge, tuple(known_as(self._trials_of(cell, best.values))))

    def _run(self, cell: Cell, values: Values) -> _Run:
        override = {**cell.override, **cell.seeds[0], **values}
        if self._config.get("tune_epochs") is not None:
            override["train.epochs"] = self._config.tune_epochs
        name, config = self._named(override)
        config = config.copy_and_resolve_references().unlock()
        config.tuning = True
        return _Run(values, name, config.lock())

    def _trials_of(self, cell: Cell, values: Values) -> dict[str, ConfigDict]:
        return dict(self._named({**cell.override, **seed, **values}) for seed in cell.seeds)

    def _named(self, override: Values) -> tuple[str, ConfigDict]:
        """A trial, by the first name that was given to it."""
        key = repr(sorted(override.items()))
        if key not in self._settled:
            name, config = grid.named(self._base, override)
            self._settled[key] = self._names.setdefault(trial_hash(config), name), config
        return self._settled[key]

    def _check(self, trials: Sequence[grid.Named]) -> None:
        """Refuses what cannot be tuned.

        Raises:
          UserError: a field is swept or set as well; it decides which images there are; there is nothing to choose on;
            or trial runs would be longer than the trials.
        """
        for key, values in self.axes.items():
            said = f"config.tune.{key}={values!r}"
            if key in (*SEEDS, *_OF_THE_IMAGES):
                raise UserError(f"{said}: decides what is compared, and so cannot be tuned; sweep it")
            if any(key in trial.override for trial in trials):
                raise UserError(f"{said}: the sweep sets config.{key} as well; take one of them away")
            if len({repr(value) for value in values}) < len(values):
                raise UserError(f"{said}: a value stands there twice")
        epochs = self._config.get("tune_epochs")
        if epochs is not None and "train.epochs" in self.axes:
            raise UserError(f"config.tune_epochs={epochs!r}: config.tune.train.epochs says how long the trial runs are")
        for trial in trials:
            data, trained = trial.config.data, trial.config.train.epochs
            if not data.validation_split:
                raise UserError("config.data.validation_split is empty: config.tune chooses on it")
            if data.validation_split == data.test_split:
                raise UserError(
                    f"config.data.validation_split={data.validation_split!r} is the test split, too: config.tune "
                    "chooses on images of their own, such as --config.data.train_split=train[:90%] "
                    "--config.data.validation_split=train[90%:]"
                )
            if not trained:
                raise UserError(f"config.train.epochs={trained!r}: config.tune needs a training")
            if epochs is not None and not 0 < epochs <= trained:
                raise UserError(
                    f"config.tune_epochs={epochs!r}: must be in (0, {trained!r}], as config.train.epochs is"
                )


def _cells(trials: Sequence[grid.Named]) -> list[Cell]:
    """Trials whose overrides agree in all but their seeds, together, in their order."""
    found: dict[str, list[grid.Named]] = {}
    for trial in trials:
        own = sorted((key, value) for key, value in trial.override.items() if key not in SEEDS)
        found.setdefault(repr(own), []).append(trial)
    cells = []
    for first, *others in found.values():
        own = {key: value for key, value in first.override.items() if key not in SEEDS}
        label = grid.trial_name(own, first.config).rpartition("-")[0]
        seeds = [{key: trial.override[key] for key in SEEDS if key in trial.override} for trial in (first, *others)]
        cells.append(Cell(label, own, tuple(seeds)))
    return cells


def _as_dict(choice: Choice) -> dict[str, Any]:
    return {
        "cell": choice.cell.label,
        "override": dict(choice.cell.override),
        "tried": [
            {"trial": one.trial, "values": dict(one.values), one.column: one.score, "loss": one.loss}
            for one in choice.tried
        ],
        "chosen": dict(choice.best.values) if choice.best else None,
        "at_edge": list(choice.at_edge),
        "trials": list(choice.trials),
    }
