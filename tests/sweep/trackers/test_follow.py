"""A tracker that is killed, fails or hangs at any moment: each number is sent once, and the sweep goes on."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnet_jax.errors import UserError
from mnet_jax.sweep.trackers import background, registry
from mnet_jax.sweep.trackers.background import Background
from mnet_jax.sweep.trackers.follow import Follower
from mnet_jax.workdir.files import DONE, FAILED, QUEUED, RUNNING, Workdir

CONFIG = {"model": {"name": "mobilenet_v1", "alpha": 0.5}, "input_size": 16, "seed": 0, "launch": {"launcher": "ray"}}


class Killed(BaseException):
    pass


class Server:
    """Has what it was sent, by key; answers what it has; can be killed before or after each of its acts."""

    def __init__(self):
        self.runs, self.acts, self.dies_at = {}, 0, None

    def act(self):
        if self.acts == self.dies_at:
            raise Killed
        self.acts += 1

    def begin(self, subject):
        self.act()
        run = self.runs.setdefault(subject.key, Run(self, subject))
        self.act()
        return run

    def close(self):
        self.act()


class Run:
    def __init__(self, server, subject):
        self.server, self.subject = server, subject
        self.points, self.statuses, self.pictures = [], [], []

    @property
    def sent(self):
        steps = {}
        for step, name, _ in self.points:
            steps[name] = max(step, steps.get(name, -1))
        return steps

    def log(self, points):
        for step, values in points:
            self.server.act()
            self.points += [(step, name, value) for name, value in values.items()]
        self.server.act()

    def show(self, pictures, step):
        self.pictures += pictures

    def end(self, status):
        self.server.act()
        self.statuses.append(status)
        self.server.act()


def trial(workdir, name="a-00000000"):
    folder = workdir.trial(name)
    folder.create(CONFIG, {"mult_adds": 7, "params": 3})
    return folder


def train(folder, first, last):
    """Steps that are trained again give the same loss at another rate."""
    folder.keep_metrics_until(first - 1)
    folder.set_status(RUNNING)
    for step in range(first, last + 1):
        folder.append_metrics({"step": step, "total_steps": 9, "loss": 1 / step, "images_per_second": time.time()})
        if step % 2 == 0:
            folder.append_metrics({"step": step, "total_steps": 9, "split": "validation", "top1": step / 10})


def end(folder):
    folder.set_result({"top1": 0.5, "top5": 0.9, "loss": 0.1, "steps": 9})
    folder.set_status(DONE)


STORY = (
    lambda folder: train(folder, 1, 4),
    lambda folder: folder.set_status(QUEUED, "the process ended; it starts again"),
    lambda folder: train(folder, 3, 6),  # again from a checkpoint, past what was sent
    lambda folder: train(folder, 5, 5),
    lambda folder: train(folder, 5, 9),
    end,
)
EXPECTED = sorted(
    [(step, "train/loss", 1 / step) for step in range(1, 10)]
    + [(step, "validation/top1", step / 10) for step in (2, 4, 6, 8)]
    + [(9, "test/top1", 0.5), (9, "test/top5", 0.9), (9, "test/loss", 0.1)]
    + [(9, "cost/mult_adds", 7.0), (9, "cost/params", 3.0)]
)


@given(kills=st.lists(st.integers(0, 12), max_size=8))
def test_each_number_is_sent_once_to_one_run_whenever_the_sweep_is_killed(kills, tmp_path_factory):
    """Each kill is so many acts of the tracker after the last one."""
    workdir, server, kills = Workdir(tmp_path_factory.mktemp("killed")), Server(), list(kills)
    folder = trial(workdir)

    def look(follower):
        while True:
            server.dies_at = server.acts + kills[0] if kills else None
            try:
                follower.send(folder)
                return follower
            except Killed:
                kills.pop(0)
                follower = Follower("fake", server, workdir)

    follower = look(Follower("fake", server, workdir))
    for happens in STORY:
        happens(folder)
        follower = look(follower)
    (run,) = server.runs.values()
    assert sorted(point for point in run.points if point[1] != "train/images_per_second") == EXPECTED
    assert [step for step, name, _ in run.points if name == "train/images_per_second"] == list(range(1, 10))
    assert [step for step, *_ in run.points] == sorted(step for step, *_ in run.points)
    assert run.statuses[-1] == DONE


def test_the_mark_alone_is_enough_for_a_tracker_that_cannot_say_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "sent", None)
    workdir, server = Workdir(tmp_path), Server()
    folder = trial(workdir)
    for happens in STORY:
        happens(folder)
        Follower("fake", server, workdir).send(folder)
    (run,) = server.runs.values()
    assert sorted(point for point in run.points if point[1] != "train/images_per_second") == EXPECTED


def test_a_trial_that_ended_and_was_sent_is_not_begun_again(tmp_path):
    workdir, server = Workdir(tmp_path), Server()
    folder = trial(workdir)
    train(folder, 1, 9)
    end(folder)
    assert Follower("fake", server, workdir).send(folder)
    acts = server.acts
    assert Follower("fake", server, workdir).send(folder)
    assert server.acts == acts


def test_a_trial_tells_what_it_is(tmp_path):
    workdir, server = Workdir(tmp_path / "width"), Server()
    folder = trial(workdir)
    train(folder, 1, 1)
    folder.set_status(FAILED, "boom")
    Follower("fake", server, workdir).send(folder)
    (run,) = server.runs.values()
    assert run.subject.tags == {
        "sweep": "width",
        "trial": "a-00000000",
        "model": "mobilenet_v1",
        "alpha": "0.5",
        "input_size": "16",
        "seed": "0",
    }
    assert run.subject.fields == {
        "model.name": "mobilenet_v1",
        "model.alpha": 0.5,
        "input_size": 16,
        "seed": 0,
        "mult_adds": 7,
        "params": 3,
    }
    assert run.statuses == [FAILED]


def test_damaged_files_are_read_past(tmp_path):
    workdir, server = Workdir(tmp_path), Server()
    broken, whole = trial(workdir, "b-00000000"), trial(workdir)
    follower = Follower("fake", server, workdir)
    for folder in (broken, whole):
        train(folder, 1, 2)
    (broken.path / "config.json").write_text("{")
    (whole.path / "tracked-fake.json").write_text("[")
    with (whole.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    follower.send(broken)
    follower.send(whole)
    names = {run.subject.name: run for run in server.runs.values()}
    assert names.keys() == {"a-00000000"}
    assert max(step for step, *_ in names["a-00000000"].points) == 2


def test_pictures_are_sent_when_they_changed(tmp_path):
    workdir, server = Workdir(tmp_path), Server()
    picture = tmp_path / "accuracy.png"
    for content in ("a", "a", "b"):
        picture.write_text(content)
        Follower("fake", server, workdir).finish([picture])
    (run,) = server.runs.values()
    assert run.subject.name == "sweep"
    assert run.pictures == [picture, picture]


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(background, "_SECONDS", 0.01)
    monkeypatch.setattr(background, "_PATIENCE", 0.05)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ConnectionError("no\nroute"), ValueError()])
def test_one_that_fails_is_one_line_and_catches_up(error, fast, tmp_path, capsys):
    workdir, server, left = Workdir(tmp_path), Server(), [error] * 3
    folder = trial(workdir)
    train(folder, 1, 9)

    def make(_):
        if left:
            raise left.pop()
        return server

    thread = Background("fake", make, workdir)
    thread.see(folder)
    time.sleep(0.5)
    end(folder)
    thread.close(time.monotonic() + 5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: tracker fake: ")
    assert (tmp_path / "output" / "tracker-fake.txt").read_text().count("Traceback") == 3
    (run,) = server.runs.values()
    assert sorted(point for point in run.points if point[1] != "train/images_per_second") == EXPECTED


def test_one_that_hangs_is_left_behind(fast, tmp_path, capsys):
    hangs = threading.Event()
    thread = Background("fake", lambda _: hangs.wait(60), Workdir(tmp_path))
    time.sleep(0.05)
    start = time.monotonic()
    thread.see(trial(Workdir(tmp_path)))
    thread.close(time.monotonic() + 0.2)
    assert time.monotonic() - start < 2
    hangs.set()
    assert capsys.readouterr().out.startswith("warning: tracker fake: it does not answer (the sweep goes on")


def test_a_library_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"wandb needs wandb: pip install -e '\.\[wandb\]'"):
        registry.check_trackers(("wandb",))


def test_mlflow_needs_a_server(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI, such as"):
        registry.check_trackers(("mlflow",))
