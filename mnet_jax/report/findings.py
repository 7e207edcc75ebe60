"""What is found in a table, family by family: the law, which neighbours are told apart, the front; as JSON and text."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnet_jax.config.tasks import Score
from mnet_jax.report.cells import Cell, Family, families
from mnet_jax.report.errorbars import pooled_sd, standard_error
from mnet_jax.report.law import Fit, Law, fit_law
from mnet_jax.report.neighbours import Pair, front, neighbours
from mnet_jax.report.tables import table
from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.results import Row
from mnet_jax.workdir.whole import write_json

_QUOTED = ("power_with_floor", "log_linear", "mult_adds_power")  # whose coefficients say something by themselves


@dataclasses.dataclass(frozen=True)
class Finding:
    """Of a family: its law, its neighbours, and its cells that no other is told to beat."""

    law: Law
    pairs: tuple[Pair, ...]
    front: tuple[Cell, ...]

    @property
    def family(self) -> Family:
        return self.law.family


def find(rows: Sequence[Row], shares: Mapping[str, np.ndarray] | None = None) -> list[Finding]:
    """Of every family of a table; see `cells.families`."""
    return [
        Finding(fit_law(family), tuple(neighbours(family)), tuple(front(family))) for family in families(rows, shares)
    ]


def write(workdir: Workdir, findings: Sequence[Finding]) -> None:
    """Writes `law.json`."""
    write_json(workdir.path / "law.json", {"families": [as_json(finding) for finding in findings]})


def as_json(finding: Finding) -> dict[str, Any]:
    """Percentage points where a key ends in `_pp`, else fractions."""
    family, law = finding.family, finding.law
    sd = pooled_sd(cell.scores for cell in family.cells)
    return {
        "model": family.model,
        "recipe": dict(family.recipe),
        "cells": [_cell_as_json(cell, family.score, sd) for cell in family.cells],
        "left_out": list(family.left_out),
        "intervals_of": law.source,
        "unit": _unit_as_json(family),
        "forms": [_fit_as_json(fit) for fit in law.fits],
        "neighbours": [
            {
                "a": pair.a.label,
                "b": pair.b.label,
                "gap_pp": 100 * pair.gap,
                "half_width_pp": _points(pair.half_width),
                "told_apart": pair.is_told_apart,
                "smallest_gap_pp": _points(pair.smallest_gap),
                "half_width_of_checkpoints_pp": _points(pair.of_checkpoints),
            }
            for pair in finding.pairs
        ],
        "pareto": [cell.label for cell in finding.front],
    }


def as_text(findings: Sequence[Finding]) -> str:
    """Of every family that has neighbours or is alone; of all others how many there are."""
    shown = [f for f in findings if len(f.family.cells) > 1 or len(findings) == 1]
    hidden = [finding for finding in findings if finding not in shown]
    parts = [_family_as_text(finding) for finding in shown]
    if hidden:
        recipes = "1 recipe has" if len(hidden) == 1 else f"{len(hidden)} recipes have"
        lines = [f"{recipes} no two cells that differ in alpha or input_size alone: nothing to fit or to compare"]
        parts.append("\n".join([*lines, *(line for finding in hidden for line in finding.family.left_out)]))
    return "\n\n".join(parts)


def _family_as_text(finding: Finding) -> str:
    family, law = finding.family, finding.law
    count = len(family.cells)
    lines = [f"The law of {family.name}: {count} cell{'s' * (count != 1)}", *family.left_out]
    reasons = {fit.refused for fit in law.fits}
    if len(reasons) == 1 and None not in reasons:
        lines.append(f"no form is fitted: {reasons.pop()}")
    else:
        lines += [*_forms_as_text(law), *_remarks(law)]
    if finding.pairs:
        lines += ["", *_pairs_as_text(finding)]
    if count > 1:
        lines += ["", _front_as_text(finding)]
    return "\n".join(lines)


def _forms_as_text(law: Law) -> list[str]:
    rows = []
    for fit in law.fits:
        if fit.refused:
            rows.append((fit.name, "-", "-", f"refused: {fit.refused}"))
        else:
            said = _coefficients(fit) if fit.name in _QUOTED else ""
            rows.append((fit.name, f"{100 * fit.loo_mean:.2f}", f"{100 * fit.loo_max:.2f}", said))
    return table(("form", "left out: mean", "max", "points"), rows, (False, True, True, False)).splitlines()


def _coefficients(fit: Fit) -> str:
    intervals = fit.coefficient_intervals()
    said = []
    for i, name in enumerate(fit.form.coefficients):
        if name == "constant":
            continue
        interval = "" if intervals is None else f" [{intervals[0, i]:.2g}, {intervals[1, i]:.2g}]"
        said.append(f"{name} {fit.found[i]:.2g}{interval}")
    return ", ".join(said)


def _remarks(law: Law) -> list[str]:
    remarks = []
    if law.source:
        remarks.append(
            f"Intervals: 95%, of {law.source}; what a form itself misses is in the errors of cells left out."
        )
    elif law.inside or not law["mult_adds_power"].refused:
        remarks.append("No intervals: one seed, and no record of what each trial makes of single images.")
    if law.simpler is not None:
        remarks.append(f"{law.simpler.name} is simpler and misses no more within one standard error.")
    if any(not law[name].refused for name in ("power_with_floor", "mult_adds_power")):
        remarks.append("E is a coefficient, not the best error that can be reached.")
    return remarks


def _pairs_as_text(finding: Finding) -> list[str]:
    has_seeds = finding.pairs[0].half_width is not None
    many = len(finding.pairs) > 1
    head = f"Neighbours, {len(finding.pairs)} pair{'s' * many}: "
    if has_seeds:
        words = finding.family.score.words
        head += f"{words} of the first minus the second, with the 95% interval of the pair alone over seeds"
        head += ";\ntold apart: among all pairs (Holm); sees: of one pair, with a power of 90%" if many else ""
    else:
        head += "one seed says nothing of another run, so nobody is told apart"
    rows = [(f"{pair.a.label} - {pair.b.label}", verdict(pair)) for pair in finding.pairs]
    width = max(len(name) for name, _ in rows)
    return [head, *(f"{name:<{width}}  {text}" for name, text in rows)]


def _front_as_text(finding: Finding) -> str:
    count = len(finding.front)
    names = f"all {count} cells" if count == len(finding.family.cells) else ", ".join(c.label for c in finding.front)
    return f"Pareto front (a cell is beaten only by one that costs no more and is told apart, among all pairs): {names}"


def verdict(pair: Pair) -> str:
    """Whether a pair is told apart, in words."""
    gap = f"{100 * pair.gap:.1f}"
    if pair.half_width is None:
        is_known = pair.of_checkpoints is not None
        beside = f"; as these two checkpoints +- {100 * pair.of_checkpoints:.1f}" if is_known else ""
        return f"not told apart: {gap} points, of one seed{beside}"
    said = f"{gap} +- {100 * pair.half_width:.1f} points"
    if pair.is_told_apart:
        return f"told apart: {said}"
    return f"not told apart: {said}; this sweep sees gaps from {100 * pair.smallest_gap:.1f}"


def _cell_as_json(cell: Cell, score: Score, sd: float | None) -> dict[str, Any]:
    error, source = standard_error(cell.scores, sd, cell.error_of_images)
    keys = ("label", "alpha", "input_size", "mult_adds", "params")
    return {key: getattr(cell, key) for key in keys} | {
        score.column: cell.mean,
        "num_seeds": len(cell.scores),
        "standard_error_pp": _points(error),
        "standard_error_of": source,
    }


def _unit_as_json(family: Family) -> dict[str, Any]:
    """What rho and, in `mult_adds_power`, the Mult-Adds are counted from."""
    if not family.cells:
        return {}
    return {"input_size": family.levels["input_size"][0], "mult_adds": max(cell.mult_adds for cell in family.cells)}


def _fit_as_json(fit: Fit) -> dict[str, Any]:
    intervals = fit.coefficient_intervals()
    named = zip(fit.form.coefficients, range(len(fit.form.coefficients)), strict=True)
    return {
        "name": fit.name,
        "coefficients": None if fit.refused else dict(zip(fit.form.coefficients, fit.found.tolist(), strict=True)),
        "intervals": None if intervals is None else {name: intervals[:, i].tolist() for name, i in named},
        "loo_mean_pp": _points(fit.loo_mean),
        "loo_max_pp": _points(fit.loo_max),
        "refused": fit.refused,
    }


def _points(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction
