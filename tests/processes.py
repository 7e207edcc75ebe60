"""Sweeps of `tests/tiny_sweep.py` in processes of their own: started, waited for, killed, and what they left."""

import subprocess
import sys
import time

import psutil

from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir
from tests.conftest import REPOSITORY


def start(environment, workdir, case="two_sizes", *flags):
    config = f"tests/tiny_sweep.py:{case}"
    command = [sys.executable, "-m", "mnet_jax.sweep", "--config", config, "--workdir", workdir, *flags]
    return subprocess.Popen(
        command, env=environment, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(environment, workdir, case="two_sizes", *flags):
    process = start(environment, workdir, case, *flags)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def kill_all(process):
    """SIGKILL to the sweep and every process it started, as a power cut would."""
    if process.poll() is not None:
        return
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family)


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


def accuracies(workdir):
    return {
        row["trial"]: (row["top1"], row["top5"], row["loss"]) for row in results.read(Workdir(workdir).results_path)
    }


def logs(workdir):
    return "".join(path.read_text() for path in workdir.glob("trials/*/log.txt"))
