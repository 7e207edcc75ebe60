"""CPU time that the sweep's own process takes for a trial, and its memory, where trials cost nothing.

`python -m benchmarks.launcher` runs sweeps of several sizes with the real `plan_trials`, `run` and local launcher, each
in a process of its own; in the place of the process that trains a group stands a script that writes what a trial
writes. Then the same sweep runs again, with nothing left to do. Shown is the CPU time of the sweep's process alone.
"""

import argparse
import contextlib
import json
import pathlib
import resource
import shlex
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from unittest import mock

from benchmarks import measurements

_IMAGES = 100  # of the test split
_WORKER = """#!{python} -SE
import json, os, pathlib, sys, time
folders = [pathlib.Path(path) for path in sys.argv[sys.argv.index("mnet_jax.sweep.launchers.worker") + 1 :]]
def put(path, content):
    temporary = path.with_name("." + path.name)
    temporary.write_bytes(content)
    os.replace(temporary, path)
def put_json(path, value):
    put(path, json.dumps(value).encode())
for folder in folders:
    put_json(folder / "status.json", {{"status": "running", "error": None}})
for step in (10, 20):
    for folder in folders:
        row = {{"step": step, "total_steps": 20, "epoch": step / 10, "loss": 1.5, "steps_per_second": 10.0}}
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\\n")
    time.sleep({seconds} / 2)
for folder in folders:
    right = 50 + int(folder.name[-8:], 16) % 50
    put(folder / "predictions.npz", pathlib.Path({home!r}, f"{{right}}.npz").read_bytes())
    result = {{"top1": right / {images}, "top5": 1.0, "loss": 0.5, "epochs": 2.0, "steps": 20, "device": "none"}}
    result |= {{"images_per_second": 1.0, "wall_seconds": {seconds}, "test_images": {images}}}
    put_json(folder / "result.json", result)
    put_json(folder / "status.json", {{"status": "done", "error": None}})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[500, 5000], help="multiples of 20")
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a group of 16 trials takes")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    measurements.add_argument(parser)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(_measure(args.one, args.places, args.seconds)))
        return
    report = {"command": shlex.join(["python", "-m", "benchmarks.launcher", *sys.argv[1:]]), "sweeps": []}
    for trials in args.trials:
        flags = ["--one", str(trials), "--places", str(args.places), "--seconds", str(args.seconds)]
        command = [sys.executable, "-m", "benchmarks.launcher", *flags]
        measured = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        report["about"] = measured.pop("about")
        report["sweeps"].append(measured)
        measurements.save(report, args.json)
        parts = ", ".join(f"{name} {value:.2f}" for name, value in measured["ms_per_trial"].items())
        print(
            f"{trials} trials, ms each: {parts}; peak {measured['peak_mb']:.0f} MB; {measured['wall_seconds']:.0f} s "
            f"in all; a table stood for {measured['longest_seconds_of_a_table']:.1f} s at most",
            flush=True,
        )


def _measure(trials: int, places: int, seconds: float) -> dict:
    """One sweep, and the same again."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    from benchmarks.contenders import with_jax
    from mnet_jax.sweep import run
    from mnet_jax.sweep.launchers import local
    from mnet_jax.sweep.launchers.places import Places
    from mnet_jax.workdir import results
    from mnet_jax.workdir.files import Workdir

    first, again = _Clock(), _Clock()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stdout(sys.stderr):
        folder = pathlib.Path(home)
        config = _config(folder, trials)
        _prepare_elsewhere(folder)
        with first.part("expand"):
            grid = run.plan_trials(config)
        workdir = Workdir(folder / "sweep")
        found = Places([{}] * places, 1, 0, "cpu")
        with (
            mock.patch.object(sys, "executable", str(_worker(folder, seconds))),
            mock.patch.object(local, "find_places", return_value=found),
        ):
            with _standing(workdir.results_path) as stood:
                rows = _run(first, config, grid, workdir)
            _run(again, config, grid, workdir)
        if len(rows) != trials or {row["status"] for row in rows} != {"done"}:
            raise RuntimeError("not all trials are done")
        if results.read(workdir.results_path) != results.collect(workdir):
            raise RuntimeError("the table is not that of the folders")
    spent = {**first.seconds, "rerun": again.seconds["run"]}
    return {
        "about": with_jax.versions(),
        "trials": trials,
        "ms_per_trial": {name: 1000 * value / trials for name, value in spent.items()},
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "wall_seconds": time.monotonic() - start,
        "longest_seconds_of_a_table": max(stood),
    }


class _Clock:
    """CPU seconds of this process, its children left out, by the innermost part in which they were spent."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._within = 0.0

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        outside, self._within = self._within, 0.0
        start = time.process_time()
        yield
        took = time.process_time() - start
        self.seconds[name] = self.seconds.get(name, 0.0) + took - self._within
        self._within = outside + took

    def timed(self, function: Callable, name: str) -> Callable:
        def call(*args, **kwargs):
            with self.part(name):
                return function(*args, **kwargs)

        return call


def _run(clock: _Clock, *args):
    from mnet_jax.sweep import plan, run

    with (
        mock.patch.object(plan, "groups", clock.timed(plan.groups, "plan")),
        mock.patch.object(run, "_conclude", clock.timed(run._conclude, "law and plots")),
        clock.part("run"),
    ):
        return run.run(*args)


def _prepare_elsewhere(folder: pathlib.Path) -> None:
    """Makes the data set; that would take more memory than the sweep."""
    code = (
        "import pathlib; from benchmarks import launcher; from mnet_jax.train import inputs; "
        f"inputs.prepare(inputs.settle(launcher._config(pathlib.Path({str(folder)!r}), 20)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _config(folder: pathlib.Path, trials: int):
    """20 networks with as many seeds as there must be."""
    from mnet_jax import presets

    config = presets.get("mnist5k")
    config.data.data_dir = str(folder / "tfds")
    config.data.test_split = f"test[:{_IMAGES}]"
    config.train.epochs = 2.0
    config.sweep.model.alpha = (0.25, 0.5, 0.75, 1.0)
    config.sweep.input_size = (12, 16, 20, 24, 28)
    config.sweep.seed = tuple(range(trials // 20))
    return config


def _worker(folder: pathlib.Path, seconds: float) -> pathlib.Path:
    """The script, with the files of predictions that it copies."""
    import numpy as np

    from mnet_jax.workdir import predictions

    for right in range(50, 100):
        (folder / f"{right}.npz").write_bytes(predictions.encoded(np.arange(_IMAGES) < right))
    path = folder / "worker"
    path.write_text(_WORKER.format(python=sys.executable, home=str(folder), seconds=seconds, images=_IMAGES))
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


@contextlib.contextmanager
def _standing(path: pathlib.Path, every: float = 0.25) -> Iterator[list[float]]:
    """How many seconds each content of a file stood."""
    found, ended = [0.0], threading.Event()

    def watch():
        changed = None
        while not ended.wait(every):
            now = path.stat().st_mtime if path.exists() else changed
            if changed and now != changed:
                found.append(now - changed)
            changed = now

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    main()
