"""From files alone, whoever trains."""

import re
import time

from mnet_jax.sweep.grid import Grid
from mnet_jax.sweep.status import status_lines
from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.jobs import Jobs, Ticket, whereabouts


def test_what_runs_how_far_it_is_and_what_failed(tmp_path):
    workdir = Workdir(tmp_path)
    for name in ("done", "runs", "killed", "failed", "waits"):
        workdir.trial(name).create({"seed": 1})
    workdir.trial("done").set_result({"top1": 0.5})
    for name, step in (("runs", 40), ("killed", 20)):
        workdir.trial(name).set_status("running")
        row = {"total_steps": 100, "epoch": step / 10, "loss": 1.5}
        for at in (step - 10, step):
            workdir.trial(name).append_metrics({"step": at} | row)
        workdir.trial(name).append_metrics({"step": step, "split": "validation", "top1": 0.5})
    workdir.trial("failed").set_status("failed", "no disk")
    with workdir.trial("killed").locked(0):
        pass  # a lock that was held once
    with workdir.trial("runs").locked(0):
        before = _moments(tmp_path)
        grid = Grid(dict.fromkeys(("done", "runs", "killed", "failed", "waits", "unknown")))
        head, *rest = status_lines(grid, workdir)
        assert _moments(tmp_path) == before, "it only reads"
    rows = [re.split(r"  +", line) for line in head.splitlines()]
    assert rows[0] == ["trial", "status", "since", "step", "of", "epoch", "loss"]
    day = time.strftime("%Y-%m-%d")
    assert [(row[0], row[1], row[2].partition(" ")[0], *row[3:]) for row in rows[1:]] == [
        ("done", "done", day, "-", "-", "-", "-"),
        ("runs", "running", day, "40", "100", "4.0", "1.5000"),
        ("killed", "was running", day, "20", "100", "2.0", "1.5000"),
        ("failed", "failed", day, "-", "-", "-", "-"),
        ("waits", "queued", day, "-", "-", "-", "-"),
        ("unknown", "queued", "-", "-", "-", "-", "-"),
    ]
    assert rest == [
        f"failed failed: no disk (log: {tmp_path / 'trials/failed/log.txt'})",
        "1 of 6 trials done, 1 running",
    ]


def test_where_trials_are_in_a_cluster(tmp_path, monkeypatch):
    workdir = Workdir(tmp_path)
    for name in ("trains", "waits", "here"):
        workdir.trial(name).create({"seed": 1})
    job = Jobs(workdir).add([["trains"], ["waits"]])
    monkeypatch.setenv("MNET_JAX_NODE", "n1")
    monkeypatch.setenv("MNET_JAX_JOB", "12_0")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    Jobs(workdir).begin(Ticket(job, 0))
    trains = workdir.trial("trains")
    trains.whereabouts = whereabouts()
    trains.set_status("running")
    head, *_ = status_lines(Grid(dict.fromkeys(("trains", "waits", "here"))), workdir)
    lines = head.splitlines()
    assert lines[0].endswith("where")
    assert lines[1].endswith("n1, job 12_0, 3 requeues")
    assert lines[2].endswith(f"in the queue: {job}, 1")
    assert lines[3].split()[-1] == "-"


def _moments(folder):
    """When each file but the locks was changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name not in (".lock", ".lease")}
