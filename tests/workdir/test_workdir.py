import os

import pytest

from mnet_jax.errors import UserError
from mnet_jax.workdir.files import TrialFolder, Workdir
from mnet_jax.workdir.lease import Held
from mnet_jax.workdir.whole import Damaged, write_checked, write_json


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
    with folder.locked(0), pytest.raises(Held, match=r"process \d+ on "), TrialFolder(folder.path).locked(0):
        pass


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


CONFIG, RESULT = {"seed": 75, "model": {"name": "mobilenet_v1"}}, {"top1": 0.75, "steps": 12}


@pytest.fixture
def done(folder):
    folder.create(CONFIG)
    folder.set_result(RESULT)
    folder.set_status("done")
    return folder


def test_a_trial_is_done_when_its_result_is_there(done):
    for status in ("running", "failed", "queued"):
        done.set_status(status, "the disk was full")
        assert (done.status(), done.error()) == ("done", None), "it ended between the two files"
    (done.path / "status.json").unlink()
    assert done.status() == "done"


def test_without_its_result_it_is_queued_and_says_why(done):
    (done.path / "result.json").unlink()
    assert (done.status(), done.error()) == ("queued", f"{done.path / 'result.json'} holds no result")


@pytest.mark.parametrize("status", ["queued", "running", "failed", "diverged"])
def test_a_damaged_result_says_nothing_of_a_trial_that_is_not_done(folder, status):
    (folder.path / "result.json").write_text("{")
    folder.set_status(status, "why")
    assert (folder.status(), folder.error()) == (status, "why")


def test_a_damaged_cost_is_written_again_where_all_else_is_sound(done):
    (done.path / "cost.json").write_text("{")
    done.create(CONFIG, {"mult_adds": 1})
    assert done.cost() == {"mult_adds": 1}


@pytest.mark.parametrize("name", ["result.json", "config.json", "sweep.json", "cost.json"])
def test_a_changed_digit_is_noticed(tmp_path, done, name):
    workdir = Workdir(tmp_path)
    workdir.set_sweep({"trials": {"a": {"mult_adds": 750}}})
    done.create(CONFIG)
    write_checked(done.path / "cost.json", {"mult_adds": 750})
    path = (tmp_path if name == "sweep.json" else done.path) / name
    text = path.read_text()
    assert "75" in text
    path.write_text(text.replace("75", "76", 1))
    if name == "cost.json":
        assert done.cost() == {}, "it is counted anew"
        return
    read = {"result.json": done.result, "config.json": done.config, "sweep.json": workdir.sweep}[name]
    with pytest.raises(Damaged, match=rf"{path} is damaged \(it is not what was written\)"):
        read()


def test_the_config_of_a_trial_that_is_done_is_the_one_it_was_trained_with(done):
    done.create(CONFIG | {"launch": {"weights_dir": "elsewhere"}})
    assert done.config() == CONFIG
    path = done.path / "config.json"
    path.write_text("{")
    done.create(CONFIG)
    assert done.config() == CONFIG


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"status": "finished"}', '{"status": 5}', "\x00"])
def test_a_damaged_status_is_queued_and_named(folder, content):
    (folder.path / "status.json").write_text(content)
    assert folder.status() == "queued"
    assert str(folder.path / "status.json") in folder.error()
    folder.create({"seed": 1})
    folder.set_status("running")
    assert (folder.status(), folder.error()) == ("running", None)


def test_rows_that_cannot_be_read_are_left_out(folder):
    folder.append_metrics({"step": 1})
    with (folder.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 2, "lo\n\xff\xfe\n[3]\n{"step": "x"}\n{"loss": 1.0}\n\n')
    folder.append_metrics({"step": 4})
    assert [row["step"] for row in folder.metrics()] == [1, 4]
    folder.keep_metrics_until(9)
    assert (folder.path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 4}\n'


@pytest.mark.parametrize("name", ["config.json", "status.json", "metrics.jsonl", "result.json", "cost.json", ".lock"])
def test_a_folder_in_the_place_of_a_file_is_set_aside(folder, name):
    path = folder.path / name
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "something").write_text("of the user's")
    assert folder.status() == "queued"
    folder.create({"seed": 1}, {"mult_adds": 1})
    folder.set_status("running")
    folder.keep_metrics_until(0)
    folder.append_metrics({"step": 1})
    folder.set_result({"top1": 0.5})
    with folder.locked(0):
        pass
    assert (folder.path / f"{name}.damaged" / "something").read_text() == "of the user's"
    assert (folder.config(), folder.cost(), folder.status()) == ({"seed": 1}, {"mult_adds": 1}, "done")


@pytest.mark.parametrize("name", ["trials", "output", "source"])
def test_a_file_in_the_place_of_a_folder_is_set_aside(tmp_path, name):
    (tmp_path / name).write_text("of the user's")
    (tmp_path / f"{name}.damaged").write_text("an earlier one")
    workdir = Workdir(tmp_path)
    assert workdir.trial_names() == []
    with workdir.locked():
        workdir.trial("a").create({"seed": 1})
    assert (tmp_path / f"{name}.damaged.2").read_text() == "of the user's"
    (tmp_path / "trials" / "b").write_text("of the user's")
    workdir.trial("b").create({"seed": 2})
    assert workdir.trial_names() == ["a", "b"]
