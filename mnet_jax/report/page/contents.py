"""All that the page shows, as one object that JSON can hold."""

import collections
import datetime
import json
import math
import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from mnet_jax.config.tasks import scores_in
from mnet_jax.report.findings import Finding
from mnet_jax.report.page.folders import LINES_OF_A_LOG, Folders, failures
from mnet_jax.report.page.tradeoff import INT8, costs, settings, trade_off
from mnet_jax.report.points import of_images, reached
from mnet_jax.report.styles import is_number
from mnet_jax.report.words import names
from mnet_jax.workdir.files import DONE
from mnet_jax.workdir.results import Row

_SPENT = {"images_per_second": "images/s", "wall_seconds": "seconds"}

_Json = dict[str, Any]


def contents(rows: Sequence[Row], findings: Sequence[Finding], folders: Folders) -> _Json:
    """What `page.js` reads.

    Args:
      rows: of the table.
      findings: in it.
      folders: of its trials, as far as they are there.
    """
    there = [folders.find(row) for row in rows]
    num_trials = sum(folder is not None for folder in there)
    curves = [folder and folders.curves(folder, num_trials) for folder in there]
    return _finite(
        {
            "title": " + ".join(os.path.basename(os.path.abspath(path)) for path in folders.paths) or "Published grid",
            "made": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "counts": collections.Counter(row["status"] for row in rows),
            "costs": costs(rows),
            "scores": _axes(rows),
            "trials": _trials(rows, curves),
            "tradeoff": trade_off(rows, findings),
            "curves": curves,
            "pictures": [folder and folders.pictures(folder, num_trials) for folder in there],
            "layers": _layers([folder and folders.cost(folder) for folder in there]),
            "configs": _configs([folder and folders.config(folder) for folder in there], rows),
            "failures": {"found": failures(rows, folders), "lines": LINES_OF_A_LOG},
            "provenance": _provenance(rows, folders),
        }
    )


def _axes(rows: Sequence[Row]) -> dict[str, str]:
    """What stands beside the axis of each score that can be drawn; the first is drawn first."""
    return {score.column: f"{score.axis}, %" for score in scores_in(rows)} | {"loss": "loss on the test split"}


def _trials(rows: Sequence[Row], curves: Sequence[_Json | None]) -> _Json:
    """{"columns": [{"key", "name", "kind"}], "keys", "rows"}: a list per trial; its key is its name, but unique."""
    swept, counted = settings(rows), costs(rows)
    said = names(swept)
    columns = [_column("trial", "trial", "text"), _column("status", "status", "text")]
    columns += [_column(key, said[key], _kind(rows, key)) for key in swept if key not in counted]
    columns += [_column(key, key, _kind(rows, key, "count")) for key in counted]
    columns += [_column(key, name, "score") for key, name in _scores(rows).items()]
    columns += [_column(key, name, "number") for key, name in _SPENT.items() if _has(rows, key)]
    told = []
    for row, curve in zip(rows, curves, strict=True):
        progress = curve["progress"] if curve and row["status"] != DONE else None
        status = row["status"] if progress is None else f"{row['status']}, {progress:.0%}"
        error = of_images(row) if is_number(reached(row)) else None
        told.append([_plain((row | {"status": status, "se": error}).get(column["key"])) for column in columns])
    seen: collections.Counter[str] = collections.Counter()
    keys = []
    for row in rows:
        seen[row["trial"]] += 1
        keys.append(row["trial"] if seen[row["trial"]] == 1 else f"{row['trial']} ({seen[row['trial']]})")
    return {"columns": columns, "keys": keys, "rows": told}


def _scores(rows: Sequence[Row]) -> dict[str, str]:
    """The columns of scores with their names; the standard error stands beside the first."""
    first, *others = scores_in(rows)
    found = {first.column: first.words, "se": "se"} | {score.column: score.words for score in others} | {"loss": "loss"}
    return found | ({INT8: "top-1, int8"} if _has(rows, INT8) else {})


def _column(key: str, name: str, kind: str) -> _Json:
    return {"key": key, "name": name, "kind": kind}


def _has(rows: Sequence[Row], key: str) -> bool:
    return any(is_number(row.get(key)) for row in rows)


def _kind(rows: Sequence[Row], key: str, of_whole: str = "number") -> str:
    """ "text", "number", or, where all are whole numbers, another word."""
    found = [row[key] for row in rows if row.get(key) is not None]
    if not all(map(is_number, found)):
        return "text"
    return of_whole if all(isinstance(value, int) for value in found) else "number"


def _plain(value: Any) -> Any:
    """A number as it is, all else as words."""
    return value if value is None or is_number(value) or isinstance(value, str) else str(value)


def _layers(found: Sequence[Mapping | None]) -> _Json:
    """{"of": an index into "costs" for each trial, "costs", "plans"}: equal ones once.

    A cost has "mult_adds" and "params" of each layer, its output's "shapes", and an index into the plans, which have
    "names" and "kinds".
    """
    plans, networks = _Once(), _Once()
    of = []
    for cost in found:
        layers = [layer for layer in (cost or {}).get("layers", ()) if layer.get("mult_adds") or layer.get("params")]
        if not layers:
            of.append(None)
            continue
        plan = plans.index({"names": _each(layers, "name"), "kinds": _each(layers, "kind")})
        shapes = ["x".join(map(str, layer.get("output_shape") or ())) for layer in layers]
        own = {"plan": plan, "shapes": shapes, **{key: _each(layers, key) for key in ("mult_adds", "params")}}
        of.append(networks.index(own))
    return {"of": of, "costs": networks.values, "plans": plans.values}


def _each(layers: Sequence[Mapping], key: str) -> list:
    return [layer.get(key) for layer in layers]


class _Once:
    """Values without repetitions.

    Attributes:
      values: in the order in which they came.
    """

    def __init__(self):
        self.values: list = []
        self._places: dict[Hashable, int] = {}

    def index(self, value: Any) -> int:
        """The place of a value among them."""
        place = self._places.setdefault(json.dumps(value), len(self.values))
        if place == len(self.values):
            self.values.append(value)
        return place


def _configs(found: Sequence[Mapping[str, Any] | None], rows: Sequence[Row]) -> _Json:
    """{"usual": the commonest value of each field, "own": of each trial those that are others}, in words.

    Where the folders are gone, the settings in the table stand for the fields.
    """
    swept = settings(rows)
    told = [{key: row[key] for key in swept} if own is None else own for own, row in zip(found, rows, strict=True)]
    flat = [{key: json.dumps(value, default=str) for key, value in own.items()} for own in told]
    counts: dict[str, collections.Counter] = {}
    for own in flat:
        for key, value in own.items():
            counts.setdefault(key, collections.Counter())[value] += 1
    usual = {key: values.most_common(1)[0][0] for key, values in counts.items()}
    return {
        "usual": usual,
        "own": [{key: own.get(key) for key, value in usual.items() if own.get(key) != value} for own in flat],
    }


def _provenance(rows: Sequence[Row], folders: Folders) -> _Json:
    """{"sweeps": [{"workdir", "command", "axes", ...}], "trained": [{"device", "versions", ..., "trials"}]}."""
    sweeps = []
    for found in folders.sweeps():
        sweep = found["sweep"]
        axes = {**sweep.get("axes", {}), **sweep.get("tuned", {})}
        sweeps.append({"workdir": found["workdir"], "command": sweep.get("command"), "axes": axes, **_software(sweep)})
    groups: dict[str, _Json] = {}
    for row in rows:
        if row["status"] == DONE:
            folder = folders.find(row)
            result = folders.result(folder, DONE) if folder else {}
            told = {"device": row["device"], **_software(result)}
            groups.setdefault(json.dumps(told), told | {"trials": 0})["trials"] += 1
    return {"sweeps": sweeps, "trained": list(groups.values())}


def _software(said: Mapping[str, Any]) -> _Json:
    return {key: said.get(key) for key in ("versions", "commit", "is_dirty")}


def _finite(value: Any) -> Any:
    """The same with None for what JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
