"""The table of a running sweep: as `results.collect` and `results.write` make it of all folders, read once."""

import pytest

from mnet_jax.workdir import results, table
from mnet_jax.workdir.files import DONE, FAILED, RUNNING
from mnet_jax.workdir.table import Table
from tests.every_field import CONFIGS
from tests.finished import changed, finish

SGD = CONFIGS["sgd"]
RESULT = {"top1": 0.25, "top5": 1.0, "loss": 0.5, "epochs": 1.0, "steps": 10, "test_images": 100, "device": "1 x CPU"}


@pytest.fixture
def workdir(tmp_path):
    """Three trials of which the last is not done."""
    workdir = finish(tmp_path, [changed(SGD, "model.alpha", alpha) for alpha in (0.25, 0.5, 0.75)])
    (workdir.path / "trials" / "trial-00000002" / "result.json").unlink()
    workdir.trial("trial-00000002").set_status(RUNNING)
    return workdir


@pytest.fixture
def read(monkeypatch):
    """The names of the trials that are read, one by one."""
    names, real = [], results._read_trial

    def read_trial(folder, counted):
        names.append(folder.name)
        return real(folder, counted)

    monkeypatch.setattr(results, "_read_trial", read_trial)
    return names


@pytest.fixture
def clock(monkeypatch):
    """Seconds, that a test sets; each look takes a thousandth of one."""
    now = [100.0]

    def monotonic():
        now[0] += 0.001
        return now[0]

    monkeypatch.setattr(table.time, "monotonic", monotonic)
    return now


def expected(workdir):
    """What is in a table that is made of all folders; the one that is there stays."""
    before = workdir.results_path.read_bytes()
    results.write(workdir, results.collect(workdir))
    content = workdir.results_path.read_bytes()
    workdir.results_path.write_bytes(before)
    return content


def test_the_table_is_that_of_all_folders_after_every_change(workdir, read):
    kept = Table(workdir)
    folder = workdir.trial("trial-00000002")
    for change in (
        lambda: None,
        lambda: folder.set_status(FAILED, 'no "disk",\r\nat all'),
        lambda: folder.set_result(RESULT),
        lambda: folder.set_result(RESULT | {"epochs": 0.75}),
        lambda: (folder.path / "result.json").write_text("{"),
        lambda: (folder.path / "config.json").write_text("{"),
        lambda: folder.create(changed(SGD, "optim.learning_rate", 0.125)),
    ):
        change()
        kept.change(folder.name)
        read.clear()
        kept.write()
        num_read = len(read)
        assert workdir.results_path.read_bytes() == expected(workdir), "it differs from results.collect"
    assert num_read == 1, "trials that did not change were read again"


def test_a_sweep_that_grows_is_read_anew(workdir, read):
    kept = Table(workdir)
    kept.write()
    workdir.trial("new-00000003").create(changed(SGD, "seed", 3))
    kept.change("new-00000003")
    kept.write()
    assert workdir.results_path.read_bytes() == expected(workdir)
    workdir.set_sweep({"trials": {"new-00000003": {"mult_adds": 7, "params": 8}}})
    kept.change("new-00000003")
    kept.write()
    assert results.read(workdir.results_path)[0]["mult_adds"] == 7
    assert workdir.results_path.read_bytes() == expected(workdir)
    workdir.set_tuning({"cells": [{"chosen": {"optim.learning_rate": 0.1}, "trials": ["trial-00000000"]}]})
    kept.change("trial-00000001")
    kept.write()
    assert [row["chosen"] for row in results.read(workdir.results_path)] == [None, "optim.learning_rate", None, None]
    assert workdir.results_path.read_bytes() == expected(workdir)


def test_a_workdir_without_trials_has_an_empty_table(tmp_path):
    workdir = results.Workdir(tmp_path)
    Table(workdir).write()
    assert workdir.results_path.read_bytes() == expected(workdir)


def test_the_table_is_written_at_once_and_then_after_a_pause(workdir, clock):
    kept = Table(workdir)
    kept.keep_current()
    assert not workdir.results_path.exists(), "nothing changed"

    def row():
        return results.read(workdir.results_path)[2]

    folder = workdir.trial("trial-00000002")
    kept.change(folder.name)
    kept.keep_current()
    assert row()["status"] == RUNNING
    folder.set_result(RESULT)
    folder.set_status(DONE)
    kept.change(folder.name)
    kept.keep_current()
    assert row()["status"] == RUNNING, "it is written all the time"
    clock[0] += table._LONGEST_PAUSE
    kept.keep_current()
    assert row()["status"] == DONE, "what changed in the pause is forgotten"
    workdir.results_path.unlink()
    clock[0] += table._LONGEST_PAUSE
    kept.keep_current()
    assert not workdir.results_path.exists(), "it is written although nothing changed"


@pytest.mark.parametrize(("seconds", "pause"), [(0.1, 2.0), (100.0, table._LONGEST_PAUSE)])
def test_a_table_that_takes_long_to_write_is_written_seldom_but_is(workdir, clock, monkeypatch, seconds, pause):
    kept, real = Table(workdir), results.write_lines

    def write_lines(*args):
        real(*args)
        clock[0] += seconds

    monkeypatch.setattr(results, "write_lines", write_lines)
    kept.change("trial-00000002")
    kept.keep_current()
    written = workdir.results_path.stat().st_ino
    kept.change("trial-00000002")
    clock[0] += 0.9 * pause
    kept.keep_current()
    assert workdir.results_path.stat().st_ino == written, f"written again within {pause} s"
    clock[0] += 0.2 * pause
    kept.keep_current()
    assert workdir.results_path.stat().st_ino != written, f"not written within {pause} s"
