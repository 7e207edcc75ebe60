"""Compiles mnet_jax's training and evaluation steps for devices that need not be there, and says what XLA made of them.

Each step is compiled in a process of its own, with our fast layers and with the textbook ones. The numbers are of the
program for one device: GB moved to and from main memory (an upper bound, see `hlo.py`); GB of temporary buffers, of all
that is allocated for a step, and in use at once by XLA's own account; kernels that move more than 1 MB; millions of
cycles that libtpu estimates; CPU seconds of compiling; collectives: how many, and the MB that a device gives to them.
In parentheses: how many times as much as textbook. Nothing runs, so nothing here is a speed.
"""

import argparse
import dataclasses
import itertools
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import measurements
from benchmarks.deviceless.targets import DEVICES, TARGETS, environment, versions
from benchmarks.deviceless.worker import Cell
from mnet_jax.errors import UserError, told
from mnet_jax.models import registry

_BASELINE = "textbook"
_FLAG_OF = {
    "model.name": "--model",
    "model.alpha": "--alpha",
    "model.dtype": "--dtype",
    "model.layers": "--layers",
    "input_size": "--input_size",
    "train.batch_size": "--batch_size",
}
_COLUMNS = {  # of the table: (what is found, in what unit, digits)
    "GB": ("bytes", 1e9, 2),
    "temporary": ("temporary_bytes", 1e9, 2),
    "allocated": ("allocated_bytes", 1e9, 2),
    "peak": ("peak_bytes", 1e9, 2),
    "kernels": ("large_kernels", 1, 0),
    "Mcycles": ("estimated_cycles", 1e6, 1),
    "CPU s": ("compile_cpu_seconds", 1, 1),
}


def main() -> None:
    args = _parse()
    layers = list(dict.fromkeys([_BASELINE, *args.layers]))
    with told():
        report = {
            "command": " ".join(["python -m benchmarks.deviceless", *sys.argv[1:]]),
            "about": {target: versions(target) for target in args.target},
            "cells": [],
        }
        cells = list(_cells(args))
        for cell in cells:
            cell.config(_BASELINE)
        for cell in cells:
            found: dict[str, dict] = {}
            surroundings = {
                "environment": environment(cell.target, cell.devices),
                "compiler_options": dict(TARGETS[cell.target].compiler_options),
            }
            report["cells"].append(dataclasses.asdict(cell) | surroundings | {"compiled": found})
            _print_head(cell, **surroundings)
            for name in layers:
                found[name] = compiled(cell, name)
                print(f"  {name:9}{_row(found[name], found[_BASELINE])}", flush=True)
                measurements.save(report, args.json)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.deviceless",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", nargs="+", choices=registry.BUILT_IN, default=["mobilenet_v1"])
    parser.add_argument("--alpha", nargs="+", type=float, default=[1.0])
    parser.add_argument("--input_size", nargs="+", type=int, default=[224], help="in pixels")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--batch_size", nargs="+", type=int, default=[256], help="of each device")
    parser.add_argument("--devices", nargs="+", type=int, choices=DEVICES, default=[1])
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=["h100"], help="cpu: this machine")
    parser.add_argument("--layers", nargs="+", choices=["fast", _BASELINE], default=["fast"], help="beside textbook")
    parser.add_argument(
        "--override", nargs="+", type=_override, default=[], metavar="FIELD=VALUE", help="of the config"
    )
    parser.add_argument("--step", nargs="+", choices=["train", "eval"], default=["train"])
    measurements.add_argument(parser)
    return parser.parse_args()


def _override(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=VALUE, such as train.ema_decay=0.9999")
    if key in _FLAG_OF:
        raise argparse.ArgumentTypeError(f"{text!r}: {key} is set by {_FLAG_OF[key]}")
    return key, value


def _cells(args: argparse.Namespace) -> Iterator[Cell]:
    """
    Raises:
      UserError: a size is not positive.
    """
    for name in ("input_size", "batch_size"):
        if min(sizes := getattr(args, name)) < 1:
            raise UserError(f"--{name} {min(sizes)}: must be positive")
    axes = (args.target, args.devices, args.model, args.alpha, args.input_size, args.batch_size, args.step)
    for target, devices, model, alpha, input_size, batch_size, step in itertools.product(*axes):
        yield Cell(model, alpha, input_size, args.dtype, batch_size, devices, target, step, dict(args.override))


def compiled(cell: Cell, layers: str) -> dict[str, Any]:
    """What a process of its own found, see `worker.compile_one`; {"error"} where it did not compile."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.deviceless.worker", json.dumps(dataclasses.asdict(cell)), layers],
        capture_output=True,
        text=True,
        env=os.environ | environment(cell.target, cell.devices),
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        return {"error": f"exit code {done.returncode}: {last}"}
    return json.loads(done.stdout)


def _print_head(cell: Cell, environment: Mapping[str, str], compiler_options: Mapping[str, bool]) -> None:
    overrides = "".join(f", {key}={value}" for key, value in cell.overrides.items())
    print(
        f"\n{cell.model} {cell.alpha:g} at {cell.input_size}, batch {cell.batch_size} a device, {cell.dtype}, "
        f"{cell.step}{overrides}; {cell.devices} x {cell.target}"
    )
    settings = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
    print("  " + " ".join([*settings, *(f"{name}={value}" for name, value in compiler_options.items())]))
    print(f"  {'':9}" + "".join(f"{name:>15}" for name in _COLUMNS) + "  collectives", flush=True)


def _row(found: dict, baseline: dict) -> str:
    if "error" in found:
        return f"does not compile: {found['error']}"
    cells = []
    for name, unit, digits in _COLUMNS.values():
        value, beside = found[name], baseline.get(name)
        ratio = f" ({value / beside:.2f})" if value and beside else ""
        cells.append("-" if value is None else f"{value / unit:.{digits}f}{ratio}")
    sent = [f"{one['number']} {kind} {one['bytes'] / 1e6:.2f} MB" for kind, one in found["collectives"].items()]
    return "".join(f"{cell:>15}" for cell in cells) + f"  {', '.join(sent) or 'none'}"


if __name__ == "__main__":
    main()
