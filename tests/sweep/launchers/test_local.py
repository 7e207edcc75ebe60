"""The launcher with workers that are scripts: they do, or do not do, what the real one does to the trials' folders."""

import stat
import sys
import threading
import time

import pytest

from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.sweep.launchers import local
from mnet_jax.workdir.files import TrialFolder

WORKER = """#!{python}
import os, pathlib, signal, sys, time
folders = [pathlib.Path(path) for path in sys.argv[4:]]
with open({log!r}, "a") as log:
    log.write(" ".join(folder.name for folder in folders) + " " + os.environ.get("PLACE", "") + "\\n")
for folder in folders:
    (folder / "status.json").write_text('{{"status": "running", "error": null}}')
{body}
for folder in folders:
    (folder / "result.json").write_text('{{"top1": 0.5}}')
"""


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Launches trials by name in groups; returns their folders and what the workers were given, in order."""

    def run(groups, body="", places=({},), interruption=None):
        worker, log = tmp_path / "worker", tmp_path / "log"
        worker.write_text(WORKER.format(python=sys.executable, log=str(log), body=body))
        worker.chmod(worker.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setattr(local.sys, "executable", str(worker))
        folders = {name: TrialFolder(tmp_path / "trials" / name) for group in groups for name in group}
        for folder in folders.values():
            folder.create({})
        polled = []
        try:
            local.launch(
                [[folders[name] for name in group] for group in groups],
                places,
                tmp_path / "output",
                interruption or Interruption(),
                lambda folder: polled.append((folder.name, folder.status())),
            )
        finally:
            monkeypatch.undo()
        assert {(name, folder.status()) for name, folder in folders.items()} <= set(polled)
        return folders, [line.split() for line in log.read_text().splitlines()]

    return run


def test_a_group_is_one_process(launch):
    folders, started = launch([["a", "b"], ["c"]])
    assert [folder.status() for folder in folders.values()] == ["done"] * 3
    assert started == [["a", "b"], ["c"]]


def test_places_work_side_by_side(launch):
    """Each waits until the other has started."""
    body = """
log = folders[0].parent.parent / "log"
deadline = time.monotonic() + 30
while log.read_text().count("\\n") < 2 and time.monotonic() < deadline:
    time.sleep(0.05)
"""
    _, started = launch([["a"], ["b"], ["c"]], body, places=({"PLACE": "0"}, {"PLACE": "1"}))
    assert sorted(started[:2]) == [["a", "0"], ["b", "1"]]
    assert started[2][0] == "c"


def test_a_process_that_dies_once_starts_again(launch):
    body = """
saved = len(list(folders[0].glob("checkpoints/*"))) + 1
if saved <= 5:
    (folders[0] / "checkpoints" / str(saved)).mkdir(parents=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    folders, started = launch([["a", "b"]], body)
    assert started == [["a", "b"]] * 6
    assert folders["b"].status() == "done"


def test_a_group_that_needs_too_much_memory_is_halved_at_once(launch):
    """Exit code 3; what is alone starts once more, and dies as any other process."""
    folders, started = launch([["a", "b", "c"]], "if len(folders) > 1: sys.exit(3)")
    assert started == [["a", "b", "c"], ["a"], ["b", "c"], ["b"], ["c"]]
    assert [folder.status() for folder in folders.values()] == ["done"] * 3


def test_what_a_process_prints_is_kept(launch, tmp_path):
    launch([["a"]], "print('hello')")
    assert "hello" in (tmp_path / "output" / "a.txt").read_text()


def test_an_interruption_ends_all_processes(launch, tmp_path):
    interruption = Interruption()
    threading.Timer(1.0, interruption.set, ["SIGTERM"]).start()
    begin = time.monotonic()
    with pytest.raises(Interrupted):
        launch([["a"], ["b"]], "time.sleep(60)", places=({}, {}), interruption=interruption)
    assert time.monotonic() - begin < 30
    for name in "ab":
        folder = TrialFolder(tmp_path / "trials" / name)
        assert (folder.status(), folder.error()) == ("queued", "stopped by SIGTERM")
