"""A sweep of two trials, one random fault, and the same command again."""

import contextlib
import dataclasses
import functools
import pathlib
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping

import psutil

from mnet_jax.workdir import results
from mnet_jax.workdir.files import RUNNING, TrialFolder, Workdir
from tests import processes

_SECONDS = 300  # in which anything must have happened
_STEPS = 40  # of each trial


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of one fault.

    Attributes:
      what: was done, to which trial or file, at which step.
      has_hit: whether a trial was running then.
      codes: exit codes of the sweep that was hit, and of the same command afterwards.
      table: what the trials reached in the end.
      output: of all commands.
    """

    what: str
    has_hit: bool
    codes: tuple[int, int]
    table: dict[str, tuple]
    output: str


def uninterrupted(environment: Mapping[str, str], workdir: pathlib.Path) -> dict[str, tuple]:
    """What the trials of a sweep reach that nobody disturbs."""
    code, output = processes.finish(environment, workdir)
    assert code == 0, output
    return _table(workdir)


def inflict(seed: int, environment: Mapping[str, str], workdir: pathlib.Path) -> Outcome:
    """Starts a sweep, does something to it at a random step, and gives the same command again.

    Args:
      seed: of the step, the trial, the file; its remainder by the number of `KINDS` is the kind of the fault.
      environment: of the processes.
      workdir: of the sweep, not there yet.
    """
    moment = random.Random(seed)
    first_step = 1 + moment.randrange(_STEPS // 2)
    sweep = processes.start(environment, workdir)
    processes.wait_for(lambda: sweep.poll() is not None or max(_steps(workdir).values(), default=-1) >= first_step)
    time.sleep(moment.uniform(0, 0.2))
    steps, is_running = _steps(workdir), any(f.status() == RUNNING for f in _folders(workdir))
    family = psutil.Process(sweep.pid).children(recursive=True) if sweep.poll() is None else []
    scene = _Scene(sweep, family, functools.partial(processes.start, environment, workdir, "two_sizes"), workdir)
    what, more = KINDS[seed % len(KINDS)](scene, moment)
    code, output = _ended(sweep)
    for command in more:
        more_code, more_output = _ended(scene.start(*command))
        output += f"--- {command}: exit code {more_code}\n{more_output}"
    last, last_output = _ended(scene.start())
    output += f"--- again: exit code {last}\n{last_output}"
    return Outcome(f"{what} at steps {sorted(steps.values())}", is_running, (code, last), _table(workdir), output)


@dataclasses.dataclass(frozen=True)
class _Scene:
    """A sweep that runs, the processes that it started, how to start another, and its workdir."""

    sweep: subprocess.Popen
    family: list[psutil.Process]
    start: Callable[..., subprocess.Popen]
    workdir: pathlib.Path

    def processes(self) -> list[psutil.Process]:
        """All of the sweep's that are still there."""
        launcher = [psutil.Process(self.sweep.pid)] if self.sweep.poll() is None else []
        return [*launcher, *(process for process in self.family if process.is_running())]


_More = list[tuple[str, ...]]  # flags of commands that come before the plain one
_Kind = Callable[[_Scene, random.Random], tuple[str, _More]]


def _signalled(number: signal.Signals, to_worker: bool) -> _Kind:
    def fault(scene, moment):
        process = scene.family[0] if to_worker and scene.family else scene.sweep
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        return f"{number.name} to the {'worker' if to_worker else 'launcher'}", []

    return fault


def _stopped(scene, moment):
    stopped = moment.choice((["worker"], ["launcher"], ["worker", "launcher"]))
    processes = [process for name in stopped for process in (scene.family if name == "worker" else [scene.sweep])]
    seconds = moment.uniform(0.5, 5)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        time.sleep(seconds if number == signal.SIGSTOP else 0)
    return f"SIGSTOP for {seconds:.1f} s to the {' and the '.join(stopped)}", []


def _power_cut(scene, moment):
    for process in scene.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(scene.family)
    return "SIGKILL to all", []


def _damage(workdir: pathlib.Path, moment: random.Random) -> str:
    """Harms a random file: of a trial, or now and then of the sweep."""
    of_trials = sorted(path for path in workdir.glob("trials/*/**/*") if path.is_file() and path.name != ".lock")
    of_sweep = [path for path in (workdir / "sweep.json", workdir / "results.csv") if path.is_file()]
    path = moment.choice(of_sweep if moment.random() < 0.1 else of_trials)
    kind = moment.choice(("cut", "emptied", "flipped", "deleted"))
    with contextlib.suppress(FileNotFoundError):  # a checkpoint that was deleted meanwhile
        content = bytearray(path.read_bytes())
        if kind == "deleted":
            path.unlink()
        elif kind == "flipped" and content:
            content[moment.randrange(len(content))] ^= 1 << moment.randrange(8)
            path.write_bytes(content)
        else:
            path.write_bytes(content[: moment.randrange(len(content))] if kind == "cut" and content else b"")
    return f"{path.relative_to(workdir)} {kind}"


def _damaged_and_cut(scene, moment):
    _power_cut(scene, moment)
    return f"SIGKILL to all and {_damage(scene.workdir, moment)}", []


def _damaged_meanwhile(scene, moment):
    return _damage(scene.workdir, moment), []


def _full_disk(scene, moment):
    """No process of the sweep can write a byte to a file, for a while; those that it starts meanwhile inherit that."""
    seconds = moment.uniform(0.5, 8)
    _limit_files(scene.processes(), 0)
    time.sleep(seconds)
    with contextlib.suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(scene.sweep.pid)
        _limit_files([*launcher.children(recursive=True), launcher], psutil.RLIM_INFINITY)
    return f"no room for {seconds:.1f} s", []


def _limit_files(processes: list[psutil.Process], num_bytes: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            _, most = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (num_bytes, most))


def _two_launchers(scene, moment):
    """The same command twice at once; and sometimes the first is killed while the second looks around."""
    second = scene.start()
    has_killed = moment.random() < 0.5
    if has_killed:
        time.sleep(moment.uniform(0, 5))
        scene.sweep.kill()
    code, output = _ended(second)
    assert code in (0, 2), f"{code}: {output}"
    assert code == 0 or "another sweep is running" in output, output
    return f"a second launcher{', the first killed,' if has_killed else ''} ended with {code}", []


def _more_axes(scene, moment):
    scene.sweep.terminate()
    return "SIGTERM, then with another axis", [("--config.sweep.seed=(0,1)",)]


KINDS: tuple[_Kind, ...] = (
    _signalled(signal.SIGKILL, to_worker=True),
    _signalled(signal.SIGKILL, to_worker=False),
    _signalled(signal.SIGTERM, to_worker=True),
    _signalled(signal.SIGTERM, to_worker=False),
    _stopped,
    _power_cut,
    _damaged_and_cut,
    _damaged_meanwhile,
    _full_disk,
    _two_launchers,
    _more_axes,
)


def _ended(process: subprocess.Popen) -> tuple[int, str]:
    output, _ = process.communicate(timeout=_SECONDS)
    return process.returncode, output


def _folders(workdir: pathlib.Path) -> list[TrialFolder]:
    return [TrialFolder(path) for path in workdir.glob("trials/*") if path.is_dir()]


def _steps(workdir: pathlib.Path) -> dict[str, int]:
    return {folder.name: max([row["step"] for row in folder.metrics()], default=0) for folder in _folders(workdir)}


def _table(workdir: pathlib.Path) -> dict[str, tuple]:
    rows = results.read(Workdir(workdir).results_path)
    columns = ("status", "alpha", "input_size", "mult_adds", "params", "top1", "top5", "loss", "steps", "dataset")
    return {row["trial"].rpartition("-")[2]: tuple(row[column] for column in columns) for row in rows}
