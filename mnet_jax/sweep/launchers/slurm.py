"""Groups of trials in Slurm's queue: a job array, an element for each, submitted through submitit.

A job that is about to reach its time limit, or is told of its preemption by SIGUSR1 or SIGUSR2, saves and puts itself
back into the queue, as often as needed; SIGTERM alone makes it save and leave. Slurm is asked by `squeue`, as
accounting (`sacct`) is not set up everywhere.
"""

import getpass
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError, nearest
from mnet_jax.sweep.launchers.contract import Capacity, Groups, OnPoll
from mnet_jax.sweep.launchers.keeper import Part, keep
from mnet_jax.sweep.launchers.queue import End, Queue
from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.jobs import JOB, NODE, Ticket

_ANSWER_SECONDS = 20
_SAVE_SECONDS = 90  # before the time limit
_SOONER_SECONDS = 60  # by which Slurm may send a signal before it is due
_UNITS = (86400, 3600, 60, 1)
_AS_GIVEN = ("partition", "time", "gpus_per_node", "cpus_per_task", "mem", "constraint", "account", "qos")
_UP = ("idle", "mix", "alloc", "comp", "plnd", "resv")  # states of nodes as sinfo writes them
_STATE_FLAGS = "*~#!%$@^-"
_REQUEUES = (signal.SIGUSR1, signal.SIGUSR2)


class Slurm:
    """See `contract.Launcher`, and `queue.Cluster`."""

    def __init__(self, launch: ConfigDict, workdir: Workdir):
        _check_installed()
        self._launch, self._workdir = launch, workdir
        self._queue = Queue(self, workdir)
        self._ids: dict[Ticket, tuple[str, str]] = {}  # Slurm's ids of elements, and their states when last asked

    def capacity(self) -> Capacity:
        devices = _devices(self._launch)
        if complaint := _complaint(requested(self._launch)):
            raise UserError(f"Slurm refuses {_asked(self._launch)}: {complaint}{_hint(self._launch)}")
        partition = [f"--partition={self._launch.slurm.partition}"] if self._launch.slurm.partition else []
        nodes = _call("sinfo", "--noheader", "--format=%D", *partition).stdout.split()
        hosts = self._launch.hosts_per_group
        platform = "gpu" if self._launch.slurm.gpus_per_node else ""
        return Capacity(max(1, sum(map(int, nodes)) // hosts), hosts * devices, 0, platform)

    def launch(self, groups: Groups, interruption: Interruption, on_poll: OnPoll) -> None:
        waited_for = self._queue.submit(groups)
        if self._launch.slurm.wait:
            self._queue.wait(waited_for, interruption, on_poll)

    def submit(self, job: str, groups: Sequence[Sequence[str]]) -> None:
        import submitit

        folder = self._workdir.path.absolute() / "output" / "slurm"
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=10**9)
        cpus = self._launch.slurm.cpus_per_task
        executor.update_parameters(
            job_name=job,
            time=None,
            signal_delay_s=_seconds_to_save(self._launch.slurm.time),
            stderr_to_stdout=True,
            array_parallelism=len(groups),
            additional_parameters={"requeue": True, **requested(self._launch)},
            srun_args=[f"--cpus-per-task={cpus}"] if cpus else [],  # which srun does not take from sbatch
        )
        devices = _devices(self._launch)
        place = {"JAX_NUM_CPU_DEVICES": str(devices)} if devices > 1 and not self._launch.slurm.gpus_per_node else {}
        path = str(self._workdir.path.absolute())
        try:
            with executor.batch():
                given = {
                    t: executor.submit(train, path, t, place) for t in (Ticket(job, i) for i in range(len(groups)))
                }
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:  # submitit's FailedJobError is the first
            raise UserError(f"Slurm refuses {_asked(self._launch)}: {_reason(str(error))}") from error
        self._ids |= {ticket: (element.job_id, "PENDING") for ticket, element in given.items()}

    def alive(self, jobs: Iterable[str]) -> set[Ticket]:
        names = set(jobs)
        done = _call("squeue", "--noheader", "--array", f"--name={','.join(sorted(names))}", "--format=%j|%K|%i|%T")
        if done.returncode == 0:
            lines = [line.split("|") for line in done.stdout.splitlines()]
            self._ids |= {Ticket(name, int(k) if k.isdecimal() else 0): (i, state) for name, k, i, state in lines}
            return {Ticket(name, int(k) if k.isdecimal() else 0) for name, k, _, _ in lines}
        if known := {ticket for ticket in self._ids if ticket.job in names}:
            return known  # its controller is away for a moment
        raise UserError(f"Slurm does not answer: {_reason(done.stderr)}")

    def stop(self, tickets: Iterable[Ticket]) -> None:
        tickets = set(tickets) & self.alive({ticket.job for ticket in tickets})
        if waiting := [ticket for ticket in tickets if self._ids[ticket][1] == "PENDING"]:
            self.kill(waiting)
        if rest := [self._ids[ticket][0] for ticket in tickets if ticket not in waiting]:
            _call("scancel", "--signal=TERM", *rest)

    def kill(self, tickets: Iterable[Ticket]) -> None:
        _call("scancel", *(self._ids[ticket][0] for ticket in tickets if ticket in self._ids))

    def end(self, ticket: Ticket) -> End:
        number, _ = self._ids.get(ticket, ("", ""))
        if not number:
            return End()
        said = _call("scontrol", "--oneliner", "show", "job", number)
        if said.returncode:  # of an array that never began, no element is known
            said = _call("scontrol", "--oneliner", "show", "job", number.partition("_")[0])
        fields = dict(word.split("=", 1) for word in said.stdout.split() if "=" in word)
        state, code = fields.get("JobState", "no more"), fields.get("ExitCode", "0:0")
        text = f"Slurm says of job {number}: {state}, exit code {code}"
        log = self._workdir.path / "output" / "slurm" / f"{number}_0_log.out"
        return End(f"{text}; log: {log}" if log.is_file() else text, is_cancelled=state == "CANCELLED")


def make(launch: ConfigDict, workdir: Workdir) -> Slurm:
    return Slurm(launch, workdir)


def requested(launch: ConfigDict) -> dict[str, Any]:
    """The options of sbatch, by name, that `config.launch.slurm` asks for; True for one without a value.

    Raises:
      UserError: `config.launch.slurm.extra` is no list of options.
    """
    hosts = {"nodes": launch.hosts_per_group, "ntasks-per-node": 1}
    options = hosts | {
        name.replace("_", "-"): launch.slurm[name] for name in _AS_GIVEN if launch.slurm[name] is not None
    }
    for word in shlex.split(launch.slurm.extra or ""):
        name, _, value = word.partition("=")
        if not name.startswith("--") or len(name) < 3:
            raise UserError(
                f"config.launch.slurm.extra={launch.slurm.extra!r}: {word!r} is no option like --licenses=a:1"
            )
        options[name[2:]] = value or True
    return options


def train(workdir: str, ticket: Ticket, place: Mapping[str, str]) -> None:
    """What a job runs: the group of a ticket, until it ends or the job has to leave."""
    requeues = []
    with Interruption() as interruption:

        def on_signal(number, _):
            requeues.append(number)
            interruption.set(signal.Signals(number).name)

        for number in _REQUEUES:
            signal.signal(number, on_signal)
        array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        own = os.environ["SLURM_JOB_ID"]
        where = {NODE: os.environ["SLURMD_NODENAME"], JOB: f"{array}_{task}" if array else own}
        part = Part(*(int(os.environ.get(name, 0)) for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_RESTART_COUNT")))
        try:
            keep(workdir, ticket, where, place, interruption, part)
        except Interrupted:
            if requeues and part.rank == 0:
                subprocess.run(["scontrol", "requeue", own], check=True)


def _devices(launch: ConfigDict) -> int:
    gpus = launch.slurm.gpus_per_node
    if gpus and launch.devices_per_group not in (None, gpus):
        raise UserError(
            f"config.launch.devices_per_group={launch.devices_per_group} beside "
            f"config.launch.slurm.gpus_per_node={gpus}: a group has all GPUs of its node"
        )
    return gpus or launch.devices_per_group or 1


def _seconds_to_save(limit: str | None) -> int:
    """Before a time limit in Slurm's notation: minutes, M:S, H:M:S, or days before a dash, then H, H:M or H:M:S."""
    days, dash, rest = (limit or "1-0").rpartition("-")
    words = rest.split(":")
    if not all(word.isdecimal() for word in (*words, days or "0")) or len(words) > 3:
        return _SAVE_SECONDS  # of which Slurm says what is wrong
    first = 1 if dash or len(words) == 3 else 2
    seconds = int(days or 0) * _UNITS[0] + sum(int(w) * u for w, u in zip(words, _UNITS[first:], strict=False))
    return max(1, min(_SAVE_SECONDS, (seconds - _SOONER_SECONDS) // 2))  # of a short limit half is left to train


def _as_flags(options: Mapping[str, Any]) -> list[str]:
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]


def _complaint(options: Mapping[str, Any]) -> str:
    """Why Slurm takes no such job, or nothing; while no node is up, its test refuses also what it would queue."""
    done = _call("sbatch", "--test-only", *_as_flags(options), "--wrap=true")
    if done.returncode == 0:
        return ""
    partition = {name: value for name, value in options.items() if name == "partition"}
    states = _call("sinfo", "--noheader", "--format=%t", *_as_flags(partition)).stdout.split()
    is_up = any(state.rstrip(_STATE_FLAGS) in _UP for state in states)
    return _reason(done.stderr) if is_up or not states else ""


def _asked(launch: ConfigDict) -> str:
    """What was asked for, in the config's words."""
    fields = [
        f"config.launch.slurm.{n}={launch.slurm[n]!r}" for n in (*_AS_GIVEN, "extra") if launch.slurm[n] is not None
    ]
    return ", ".join(fields) or "a job without options"


def _hint(launch: ConfigDict) -> str:
    """The partition that may have been meant."""
    if launch.slurm.partition is None:
        return ""
    known = _call("sinfo", "--noheader", "--format=%R").stdout.split()
    return (
        ""
        if launch.slurm.partition in known
        else f"{nearest(launch.slurm.partition, known)} (partitions: {', '.join(known)})"
    )


def _reason(text: str) -> str:
    """The last complaint of a command of Slurm's."""
    lines = [line.partition("error: ")[2] for line in text.splitlines() if "error: " in line]
    return (lines or [" ".join(text.split()) or "it says nothing"])[-1]


def _call(*command: str) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"Slurm does not answer {command[0]} within {_ANSWER_SECONDS} s") from error


def _check_installed() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise UserError('the launcher slurm needs submitit: pip install "mnet_jax[slurm]"') from error
    if missing := [name for name in ("sbatch", "squeue", "scontrol", "scancel", "sinfo") if not shutil.which(name)]:
        raise UserError(
            f"the launcher slurm needs Slurm's commands: {missing[0]} is not on $PATH of {getpass.getuser()}"
        )
