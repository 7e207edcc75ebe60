import os

import filelock
import pytest

from mnet_jax.errors import UserError
from mnet_jax.workdir.files import TrialFolder, Workdir, write_json


@pytest.fixture
def folder(tmp_path):
    folder = TrialFolder(tmp_path / "alpha=0.5-00000000")
    folder.create({"seed": 1})
    return folder


def test_a_new_trial_is_queued_and_creating_it_again_keeps_what_it_reached(folder):
    assert (folder.status(), folder.error(), folder.result()) == ("queued", None, {})
    folder.set_status("failed", "no disk")
    folder.create({"seed": 1})
    assert (folder.status(), folder.error(), folder.config()) == ("failed", "no disk", {"seed": 1})


def test_metrics_are_read_from_where_the_last_reading_ended(folder):
    assert folder.metrics_since(0) == ([], 0)
    folder.append_metrics({"step": 1})
    rows, offset = folder.metrics_since(0)
    assert rows == [{"step": 1}]
    folder.append_metrics({"step": 2})
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # the writer is not done
    rows, offset = folder.metrics_since(offset)
    assert rows == [{"step": 2}]
    assert folder.metrics_since(offset) == ([], offset)


def test_steps_that_will_be_trained_again_lose_their_rows(folder):
    for step in (10, 20, 30):
        folder.append_metrics({"step": step})
    folder.keep_metrics_until(20)
    assert [row["step"] for row in folder.metrics()] == [10, 20]


def test_a_trial_is_locked_by_one_process_at_a_time(folder):
    with folder.locked(0), pytest.raises(filelock.Timeout):
        TrialFolder(folder.path).locked(0).acquire()


def test_a_workdir_is_held_by_one_sweep(tmp_path):
    workdir = Workdir(tmp_path / "new" / "work")
    with workdir.locked(), pytest.raises(UserError, match="another sweep is running"), Workdir(workdir.path).locked():
        pass
    with Workdir(workdir.path).locked():
        pass


def test_files_are_replaced_whole_and_readable_for_others(tmp_path):
    path = tmp_path / "status.json"
    write_json(path, {"status": "running"})
    with path.open() as before:
        write_json(path, {"status": "done"})
        assert '"running"' in before.read(), "a reader keeps the file it opened"
    assert '"done"' in path.read_text()
    assert os.listdir(tmp_path) == ["status.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
