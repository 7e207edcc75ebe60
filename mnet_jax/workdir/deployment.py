"""What was measured of the networks of a sweep as files and on machines: columns of the table, where there is any."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mnet_jax.workdir.files import TrialFolder, Workdir
from mnet_jax.workdir.whole import Damaged

_OF_EXPORTS = {  # column: export, and what was measured of it
    "top1_int8": ("int8.onnx", "top1"),
    "top1_int8_per_tensor": ("int8_per_tensor.onnx", "top1"),
    "bytes_float32": ("onnx", "bytes"),
    "bytes_int8": ("int8.onnx", "bytes"),
}
LATENCY = "latency_ms_"  # how the columns of latencies begin


def is_measured(column: str) -> bool:
    """Whether a column of the table is one of `read`'s."""
    return column in _OF_EXPORTS or column.startswith(LATENCY)


def read(workdir: Workdir) -> Callable[[str], dict[str, Any]]:
    """The columns of a trial by its name; all trials of a workdir have the same, None where nothing was measured.

    Of exports to ONNX: "top1_int8", "top1_int8_per_tensor", "bytes_float32" and "bytes_int8". Of the machine that was
    measured last, medians in milliseconds: "latency_ms_onnx_int8" of one image, "latency_ms_onnx_int8_batch8" of eight.
    """
    latencies = _latencies(workdir)

    def of_trial(name: str) -> dict[str, Any]:
        return dict(_of_exports(workdir, name)) | (latencies.get(_network_of(workdir, name), {}) if latencies else {})

    found = {name: of_trial(name) for name in workdir.trial_names()}
    known = {column for row in found.values() for column in row}
    columns = dict.fromkeys([*(column for column in _OF_EXPORTS if column in known), *sorted(known - {*_OF_EXPORTS})])
    return lambda name: columns | found.get(name, {})


def _of_exports(workdir: Workdir, name: str) -> Iterator[tuple[str, Any]]:
    """Of those that were made of the network which the trial ended with."""
    folder = workdir.trial(name)
    exports = folder.exports()
    for column, (export, key) in _OF_EXPORTS.items():
        measured = exports.get(export, {})
        if key in measured and measured.get("step") == _last_step(folder):
            yield column, measured[key]


def _last_step(folder: TrialFolder) -> int | None:
    with contextlib.suppress(Damaged):
        return folder.result().get("steps")
    return None


def network_key(config: Mapping[str, Any]) -> str:
    """Eight hex digits, equal for trials of one network and one shape of images; of a resolved config."""
    text = json.dumps([config["model"], config["input_size"], config["data"]["channels"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _network_of(workdir: Workdir, name: str) -> str | None:
    with contextlib.suppress(Damaged, KeyError, TypeError):
        return network_key(workdir.trial(name).config())
    return None


def _latencies(workdir: Workdir) -> dict[str, dict[str, float]]:
    """By `network_key`, then by column."""
    measured = workdir.latencies()
    last = max(measured, key=lambda entry: entry["measured_at"], default={"machine": None})["machine"]
    found: dict[str, dict[str, float]] = {}
    for entry in measured:
        if entry["machine"] == last:
            batch = "" if entry["batch"] == 1 else f"_batch{entry['batch']}"
            column = f"{LATENCY}{entry['backend']}_{entry['precision']}{batch}"
            found.setdefault(entry["network"], {})[column] = entry["median_ms"]
    return found
