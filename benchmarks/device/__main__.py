"""Measures on this machine's GPU what the pages claim of one, within a time, and prints it as tables.

A copy's bandwidth; training steps beside textbook's and PyTorch's, and the share of what that bandwidth allows; their
memory; a grid on one stream beside its steps one by one; a trial trained again and compared bit for bit. The most
important parts come first, and those that no longer fit are named. Everything is in the JSON as soon as it is measured.
With $JAX_COMPILATION_CACHE_DIR set, the same command again compiles nothing and gets further.
"""

import argparse
import math
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks import measurements
from benchmarks.device.asked import ask
from benchmarks.device.parts import FULL, TINY, Part, Parts, Row
from benchmarks.deviceless.targets import TARGETS
from mnet_jax.errors import UserError, told

_PACKAGES = ("jax", "jaxlib", "flax", *TARGETS["h100"].packages, "torch", "torchvision")
_FIRST_LOOK_SECONDS = 120

_COLUMNS: dict[str, dict[str, Callable[[Row], str]]] = {  # by a part's kind
    "bandwidth": {"GB/s": lambda row: f"{row['bytes_per_second'] / 1e9:,.0f}"},
    "step": {
        "images/s": lambda row: f"{row['images_per_second']:,.0f}",
        "spread": lambda row: f"{row['spread']:.0%}",
        "times textbook": lambda row: _or_dash("{:.2f}", row["times_textbook"]),
        "of bound (a)": lambda row: _or_dash("{:.0%}", row["share_of_bound_a"]),
        "temporary, GB": lambda row: _gigabytes(row["activation_bytes"]),
    },
    "memory": {
        "temporary, GB": lambda row: _gigabytes(row["temporary_bytes"]),
        "compiled, H100": lambda row: _gigabytes(row["compiled_temporary_bytes"]),
        "held at most, GB": lambda row: _gigabytes(row["peak_bytes"]),
        "of textbook's": lambda row: _or_dash("{:.2f}", row["times_textbook"]),
    },
    "grid": {
        "seconds, compiling too": lambda row: f"{row['seconds']:.1f}",
        "in training": lambda row: f"{row['training_seconds']:.1f}",
        "steps one by one": lambda row: f"{row['floor_seconds']:.1f}",
        "together / one by one": lambda row: f"{row['together']:.2f}",
        "launch, input, evaluation": lambda row: f"{1 - 1 / row['together']:.0%}",
    },
    "again": {
        "arrays": lambda row: f"{row['arrays']}",
        "that differ": lambda row: f"{len(row['different'])}",
    },
}


def main() -> None:
    start = time.monotonic()
    args = _parse()
    seconds = 60 * args.minutes
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # the pages claim of one device
    with told(), tempfile.TemporaryDirectory() as home:
        report = _head(args)
        print(*(f"{name}: {value}" for name, value in report.items() if name != "parts"), sep="\n", flush=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(home) / "cache"))
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        for part in Parts(TINY if args.tiny else FULL, pathlib.Path(home)).in_order():
            entry: dict[str, Any] = {"kind": part.kind, "part": part.name, "rows": []}
            report["parts"].append(entry)
            _measure(
                part, entry, start + seconds - time.monotonic(), seconds, lambda: measurements.save(report, args.json)
            )
            print(_table(entry), flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.device",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=_minutes, default=9.0, help="for all of it (9)")
    parser.add_argument("--tiny", action="store_true", help="every part in its smallest size, on a CPU too")
    measurements.add_argument(parser, "device.json")
    return parser.parse_args()


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes")
    return minutes


def _head(args: argparse.Namespace) -> dict[str, Any]:
    """What the report begins with.

    Raises:
      UserError: there is no device, or it is no GPU and `--tiny` is not given.
    """
    try:
        device = ask("device", seconds=_FIRST_LOOK_SECONDS)
    except Exception as error:
        raise UserError(f"JAX finds no device: {error}") from error
    if device["platform"] != "gpu" and not args.tiny:
        raise UserError(
            f"JAX's device here is no GPU but {device['kind']!r} ({device['platform']}): pass --tiny to try every part "
            "in its smallest size"
        )
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    command = " ".join(["python -m benchmarks.device", *sys.argv[1:]])
    return {"device": device["kind"], "versions": versions, "command": command, "parts": []}


def _measure(part: Part, entry: dict[str, Any], left: float, seconds: float, save: Callable[[], None]) -> None:
    """Fills the part's entry, and saves at each row; what breaks one part does not break the others."""
    start, most = time.monotonic(), min(left, part.share * seconds)
    if left <= part.share * seconds / 3:
        entry["left_out"] = "no time"
    else:
        try:
            for row in part.measure(most):
                entry["rows"].append(row)
                save()
        except (TimeoutError, subprocess.TimeoutExpired):
            entry["left_out"] = f"no time: it had not ended after {most:.0f} s"
        except Exception as error:
            entry["left_out"] = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    entry["seconds"] = time.monotonic() - start
    save()


def _table(entry: Mapping[str, Any]) -> str:
    columns = _COLUMNS[entry["kind"]]
    lines = [f"\n**{entry['part']}** ({entry['seconds']:.0f} s)\n"]
    if entry["rows"]:
        lines += [_line(["", *columns]), "|" + "---|" * (1 + len(columns))]
    for row in entry["rows"]:
        if "left_out" in row:
            lines.append(_line([row["what"], f"left out: {row['left_out']}", *[""] * (len(columns) - 1)]))
        else:
            lines.append(_line([row["what"], *(show(row) for show in columns.values())]))
    if "left_out" in entry:
        lines.append(f"left out: {entry['left_out']}")
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _or_dash(form: str, value: float | None) -> str:
    return "-" if value is None else form.format(value)


def _gigabytes(value: int | None) -> str:
    return _or_dash("{:.3g}", value and value / 1e9)


if __name__ == "__main__":
    main()
