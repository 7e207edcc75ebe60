"""A Slurm of two nodes on this machine, from Debian's packages, with daemons of its own."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time

_CONF = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
KillWait=30
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[16821-16822] CPUs=1 RealMemory=8000 State=UNKNOWN
PartitionName=p Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PreemptMode=requeue
"""


def missing() -> str:
    """Why there can be no Slurm here; empty where there can."""
    for program in ("slurmctld", "slurmd", "munged", "sbatch"):
        if not shutil.which(program, path=_path()):
            return f"Slurm needs the Debian packages slurm-wlm and munge: {program} is not installed"
    try:
        import submitit  # noqa: F401
    except ImportError:
        return "submitit is not installed"
    return "" if os.geteuid() == 0 else "the daemons of Slurm are started as root"


class Slurm:
    """A context manager that starts the daemons, and ends them with all their jobs.

    Attributes:
      environment: of commands that speak to it.
    """

    def __init__(self, folder: pathlib.Path, environment: dict[str, str]):
        self._folder = folder
        self.environment = environment | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}

    def __enter__(self) -> "Slurm":
        for name in ("state", "spool.n1", "spool.n2"):
            (self._folder / name).mkdir()
        (self._folder / "slurm.conf").write_text(_CONF.format(folder=self._folder))
        munge = pwd.getpwnam("munge")
        pathlib.Path("/run/munge").mkdir(exist_ok=True)
        os.chown("/run/munge", munge.pw_uid, munge.pw_gid)
        if not pathlib.Path("/etc/munge/munge.key").exists():
            self.run("mungekey")
            os.chown("/etc/munge/munge.key", munge.pw_uid, munge.pw_gid)
        self._has_munged = subprocess.run(["pgrep", "-x", "munged"], capture_output=True).returncode != 0
        if self._has_munged:
            self.run("runuser", "-u", "munge", "--", "munged")
        self.run("slurmctld")
        for node in ("n1", "n2"):
            self.run("slurmd", "-N", node)
        deadline = time.monotonic() + 60
        while self.run("sinfo", "-h", "-o", "%D %t").split() != ["2", "idle"]:
            assert time.monotonic() < deadline, self.run("sinfo")
            time.sleep(0.5)
        return self

    def __exit__(self, *_) -> None:
        self.run("scancel", "--user=root", check=False)
        time.sleep(1)
        for name in ("ctld.pid", "slurmd.n1.pid", "slurmd.n2.pid"):
            path = self._folder / name
            if path.exists():
                _end(int(path.read_text()))
        if self._has_munged:
            _end(int(pathlib.Path("/run/munge/munged.pid").read_text()))

    def run(self, *command: str, check: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def jobs(self) -> list[list[str]]:
        """Job, state and node of each in the queue."""
        return [line.split("|") for line in self.run("squeue", "-h", "-r", "-o", "%i|%T|%N").splitlines()]


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
