import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mnet_jax.workdir import lease
from mnet_jax.workdir.lease import Held, Lease, Lost, is_held

HOLD = """
import pathlib, sys, time
from mnet_jax.workdir.lease import Lease
with Lease(pathlib.Path(sys.argv[1]), 0):
    print("held", flush=True)
    time.sleep(100)
"""
TAKE_TURNS = """
import pathlib, sys, time
from mnet_jax.workdir.lease import Lease
folder = pathlib.Path(sys.argv[1])
for _ in range(20):
    with Lease(folder / ".lease", 60, folder / "log"):
        (folder / "inside").open("x").close()  # fails where another is inside
        time.sleep(0.001)
        (folder / "inside").unlink()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".lease"


@pytest.fixture
def holder(path):
    """A process that holds the lease."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def elsewhere(monkeypatch):
    """Makes this process one of another machine, whose processes it cannot see."""
    return lambda: monkeypatch.setattr(lease, "_machine", lambda: "another")


def test_it_ends_with_its_holder(path, holder):
    assert is_held(path)
    with pytest.raises(Held, match=f"process {holder.pid} on "), Lease(path, 0):
        pass
    holder.kill()
    holder.wait()
    assert not is_held(path)
    with Lease(path, 0):
        assert is_held(path)
    assert not path.exists()


def test_a_killed_holder_that_nobody_waited_for_counts_as_gone(path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    with Lease(path, 5):
        pass


def test_a_stopped_holder_on_this_machine_keeps_it(path, holder, monkeypatch):
    monkeypatch.setattr(lease, "_DEAD_SECONDS", 0.1)
    holder.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    with pytest.raises(Held), Lease(path, 0):
        pass


def test_a_silent_holder_on_another_machine_loses_it_whatever_the_clocks_say(path, elsewhere, monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "_TOUCH_SECONDS", 1000)
    monkeypatch.setattr(lease, "_DEAD_SECONDS", 0.5)
    log = tmp_path / "log"
    with Lease(path, 0, log) as first:
        elsewhere()
        monkeypatch.setattr(lease.time, "time", lambda: 0.0)
        assert is_held(path)
        begin = time.monotonic()
        with Lease(path, 30, log) as second:
            assert 0.4 < time.monotonic() - begin < 10
            first.check()  # it touched the file a moment ago, by its own clock
            monkeypatch.setattr(lease, "_LATE_SECONDS", 0.1)
            with pytest.raises(Lost, match=r"process \d+ on .* has taken over"):
                first.check()
            second.check()
    assert not path.exists()
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["taken", "taken over", "released"]


def test_a_holder_that_touches_it_keeps_it_on_another_machine(path, elsewhere, monkeypatch):
    monkeypatch.setattr(lease, "_TOUCH_SECONDS", 0.1)
    monkeypatch.setattr(lease, "_DEAD_SECONDS", 2.0)
    with Lease(path, 0):
        elsewhere()
        with pytest.raises(Held), Lease(path, 4):
            pass


@pytest.mark.parametrize("content", [None, "", '{"nonce', "[1]"])
def test_a_holder_writes_again_what_was_damaged(path, monkeypatch, content):
    monkeypatch.setattr(lease, "_LATE_SECONDS", 0.0)
    with Lease(path, 0) as held:
        path.unlink() if content is None else path.write_text(content)
        if content is not None:
            assert is_held(path), "who holds it cannot be read, but it is fresh"
        held.check()
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_no_two_processes_are_inside_at_once(tmp_path):
    processes = [subprocess.Popen([sys.executable, "-c", TAKE_TURNS, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event["event"] for event in events] == ["taken", "released"] * 80
    assert all(a["nonce"] == b["nonce"] for a, b in zip(events[::2], events[1::2], strict=True))


def test_threads_of_one_process_exclude_each_other(path):
    with Lease(path, 0), concurrent.futures.ThreadPoolExecutor() as threads:
        assert isinstance(threads.submit(Lease(path, 0).__enter__).exception(), Held)
