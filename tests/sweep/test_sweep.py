import contextlib
import csv
import errno
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess

import psutil
import pytest

from mnet_jax.errors import UserError
from mnet_jax.sweep.launchers import local
from mnet_jax.sweep.run import run_sweep
from mnet_jax.workdir import results
from mnet_jax.workdir.files import TrialFolder, Workdir
from tests.processes import accuracies, finish, kill_all, logs, start, wait_for

CONTRACT = (
    "trial,status,model,alpha,input_size,seed,mult_adds,params,top1,top5,loss,epochs,steps,images_per_second,"
    "wall_seconds,device"
)


def test_a_workdir_of_an_earlier_version_is_reported_but_not_gone_on_with(tiny, tmp_path):
    workdir = Workdir(tmp_path)
    workdir.set_sweep({"trials": {}})
    with pytest.raises(UserError, match=r"made by an earlier version, .*another order.* choose another --workdir"):
        run_sweep(tiny, tmp_path)
    assert not (tmp_path / "trials").exists()


def test_the_dry_run_of_the_papers_grid_is_exact_and_writes_nothing(command, tmp_path):
    done = command("mnet_jax.sweep", "--config", "configs/grid.py:imagenet", "--dry_run", "--workdir", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 18
    assert lines[1].split()[1:] == ["568,740,352", "4,231,976", "queued"]
    assert lines[16].split()[1:] == ["13,570,048", "470,072", "queued"]
    assert lines[17].startswith("process 1 of 1: 16 trials share a stream (100% of the predicted cost): alpha=1.0,")
    assert not (tmp_path / "w").exists()


@pytest.fixture(scope="module")
def environment(data_dir, compilation_cache):
    return os.environ | {"TINY_DATA_DIR": data_dir, "JAX_COMPILATION_CACHE_DIR": compilation_cache}


def has_checkpoint(workdir):
    """A whole one: while Orbax writes it, its folder has a longer name."""
    return any(path.name.isdigit() for path in workdir.glob("trials/*/checkpoints/*"))


def decoded(workdir):
    """Images that each process decoded, by what it printed."""
    return [int(n) for path in workdir.glob("output/*") for n in re.findall(r"images decoded: (\d+)", path.read_text())]


@pytest.fixture(scope="module")
def finished(environment, tmp_path_factory):
    """The workdir and the output of a sweep that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("finished")
    code, output = finish(environment, workdir)
    assert code == 0, output + logs(workdir)
    return workdir, output


@pytest.mark.slow
def test_a_sweep_leaves_the_table_and_the_plots(finished):
    workdir, output = finished
    table = (workdir / "results.csv").read_text().splitlines()
    assert table[0].startswith(CONTRACT)
    rows = list(csv.DictReader(table))
    assert [row["status"] for row in rows] == ["done", "done"]
    assert [row["input_size"] for row in rows] == ["16", "12"]
    for name in ("accuracy_vs_mult_adds.png", "accuracy_vs_params.png"):
        assert (workdir / name).read_bytes().startswith(b"\x89PNG")
    assert {"jax", "flax"} <= json.loads((workdir / "sweep.json").read_text())["versions"].keys()
    assert "2 of 2 trials done" in output
    assert "validation top-1" in output


@pytest.mark.slow
def test_running_again_skips_what_is_done(finished, environment):
    workdir, _ = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.glob("trials/*/result.json")}
    code, output = finish(environment, workdir)
    assert code == 0
    assert "2 of 2 trials are done already" in output
    assert {path: path.stat().st_mtime_ns for path in workdir.glob("trials/*/result.json")} == before


@pytest.mark.slow
def test_another_axis_trains_only_what_is_new(finished, environment, tmp_path):
    """A trial is found by its hash: seed 0 has other names now, and is not trained again."""
    shutil.copytree(finished[0], tmp_path / "work")
    before = {path: path.read_bytes() for path in (tmp_path / "work").glob("trials/*/result.json")}
    code, output = finish(environment, tmp_path / "work", "two_sizes", "--config.sweep.seed=(0,1)")
    assert code == 0, output + logs(tmp_path / "work")
    assert "2 of 4 trials are done already" in output
    assert {path: path.read_bytes() for path in before} == before
    rows = results.read(tmp_path / "work" / "results.csv")
    assert sorted((row["input_size"], row["seed"], row["status"]) for row in rows) == [
        (size, seed, "done") for size in (12, 16) for seed in (0, 1)
    ]
    assert len({row["replicate"] for row in rows}) == 2
    assert all(row["mult_adds"] for row in rows)
    assert finish(environment, tmp_path / "work", "two_sizes", "--config.sweep.input_size=(16,)")[0] == 0
    assert len(results.read(tmp_path / "work" / "results.csv")) == 4, "the table holds every trial of the workdir"


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _empty(path):
    path.write_bytes(b"")


def _in_a_folder(path):
    path.unlink()
    (path / "inside").mkdir(parents=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "harm",
    [_in_a_folder, *(pytest.param(f, marks=pytest.mark.exhaustive) for f in (_flip, _empty, pathlib.Path.unlink))],
)
def test_what_is_damaged_of_a_sweep_that_was_done_is_made_again(finished, environment, tmp_path, harm, command):
    """Every file of one trial but its older checkpoint, and those of the sweep; the other trial is left alone."""
    workdir = tmp_path / "work"
    shutil.copytree(finished[0], workdir)
    first, second = sorted((workdir / "trials").iterdir())
    untouched = {path: path.stat().st_mtime_ns for path in second.rglob("*") if path.name not in (".lock", ".lease")}
    newest = TrialFolder(first).saved_step()
    for name in ("status.json", "result.json", "config.json", "cost.json", "metrics.jsonl", "log.txt"):
        harm(first / name)
    harm(first / "checkpoints" / str(newest) / "state" / "manifest.ocdbt")
    for name in ("sweep.json", "results.csv", "accuracy_vs_mult_adds.png"):
        harm(workdir / name)
    reported = command("mnet_jax.report", "--workdir", workdir)
    assert reported.returncode == 0, reported.stderr
    assert "Traceback" not in reported.stderr + reported.stdout
    code, output = finish(environment, workdir)
    assert code == 0, output + logs(workdir)
    assert "1 of 2 trials are done already" in output
    assert accuracies(workdir) == accuracies(finished[0])
    rows, whole = (results.read(path / "results.csv") for path in (workdir, finished[0]))
    for column in ("trial", "mult_adds", "params", "input_size", "epochs", "steps", "replicate", "error"):
        assert sorted(map(str, (row[column] for row in rows))) == sorted(map(str, (row[column] for row in whole)))
    assert (workdir / "accuracy_vs_mult_adds.png").read_bytes().startswith(b"\x89PNG")
    assert f"{newest} is damaged and now named {newest}.damaged" in (first / "log.txt").read_text()
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched


@pytest.mark.slow
def test_evaluating_the_workdir_gives_the_table_again(finished, command):
    workdir, _ = finished
    done = command("mnet_jax.evaluate", "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    header, *lines = done.stdout.splitlines()
    assert header.split() == ["trial", "step", "top1", "top5", "loss", "images"]
    expected = [
        [row["trial"], str(row["steps"]), *(f"{row[key]:.4f}" for key in ("top1", "top5", "loss")), "100"]
        for row in results.read(workdir / "results.csv")
    ]
    assert [line.split() for line in lines] == expected


@pytest.mark.slow
def test_sharing_changes_no_number_and_decodes_once(finished, environment, tmp_path):
    workdir, _ = finished
    code, output = finish(environment, tmp_path, "two_sizes", "--config.launch.trials_per_stream=1")
    assert code == 0, output + logs(tmp_path)
    assert accuracies(tmp_path) == accuracies(workdir)
    assert decoded(workdir) == [256 + 72 + 100]
    assert decoded(tmp_path) == decoded(workdir) * 2


@pytest.mark.slow
def test_two_places_train_two_groups_at_a_time(finished, environment, tmp_path):
    devices = {"JAX_NUM_CPU_DEVICES": "8"}
    code, output = finish(environment | devices, tmp_path, "two_sizes", "--config.launch.devices_per_group=4")
    assert code == 0, output + logs(tmp_path)
    assert len(list(tmp_path.glob("output/*"))) == 2
    assert {row["device"].partition(" ")[0] for row in results.read(tmp_path / "results.csv")} == {"4"}
    done = [output.index(f"input_size={size}: started") for size in (16, 12)]
    assert max(done) < output.index("[1/2]"), "both start before one ends"


def resumed(workdir):
    """The steps from which each trial was resumed, in order."""
    found = {}
    for path in workdir.glob("trials/*/log.txt"):
        found[path.parent.name] = [int(step) for step in re.findall(r"resumed from step (\d+)", path.read_text())]
    return found


def saved(workdir):
    return {path.name: TrialFolder(path).saved_step() for path in workdir.glob("trials/*")}


@pytest.mark.slow
def test_killed_five_times_it_ends_as_if_undisturbed_and_repeats_no_saved_step(finished, environment, tmp_path):
    moment = random.Random(0)
    for _ in range(5):
        before, resumed_before = saved(tmp_path), resumed(tmp_path)
        process = start(environment, tmp_path)
        wait_for(lambda before=before, process=process: saved(tmp_path) != before or process.poll() is not None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment.uniform(0, 0.3))
        kill_all(process)
        process.communicate()
        for trial, steps in resumed(tmp_path).items():
            assert set(steps[len(resumed_before.get(trial, [])) :]) <= {before.get(trial)}, trial
    code, output = finish(environment, tmp_path)
    assert code == 0, output + logs(tmp_path)
    assert accuracies(tmp_path) == accuracies(finished[0])
    assert sum(map(len, resumed(tmp_path).values())) >= 5


@pytest.mark.slow
def test_a_group_whose_process_is_killed_goes_on_by_itself(finished, environment, tmp_path):
    process = start(environment, tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    (worker,) = psutil.Process(process.pid).children()
    worker.kill()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output + logs(tmp_path)
    assert "the process ended by SIGKILL; it starts again" in output
    assert accuracies(tmp_path) == accuracies(finished[0])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive)])
def test_asked_to_stop_it_saves_and_leaves_and_goes_on_without_compiling(finished, environment, tmp_path, number):
    process = start(environment, tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert f"stopped by {number.name}" in output
    assert {row["status"] for row in results.read(tmp_path / "results.csv")} <= {"queued", "done"}
    assert finish(environment | {"JAX_EXPLAIN_CACHE_MISSES": "1"}, tmp_path)[0] == 0
    assert accuracies(tmp_path) == accuracies(finished[0])
    printed = "".join(path.read_text() for path in tmp_path.glob("output/*"))
    assert "TRACING CACHE MISS" in printed, "JAX explains"
    assert not re.findall(r"PERSISTENT COMPILATION CACHE MISS for '(\S+)'", printed)


@pytest.mark.slow
def test_a_worker_whose_sweep_is_killed_saves_and_leaves(environment, tmp_path):
    process = start(environment, tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    (worker,) = psutil.Process(process.pid).children()
    process.kill()
    psutil.wait_procs([worker], timeout=60)
    assert not worker.is_running()
    assert "the end of the sweep's process" in logs(tmp_path)
    process.communicate()


def test_a_disk_that_is_full_ends_a_sweep_in_one_line(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "status.json")

    monkeypatch.setattr(local, "launch", full)
    with pytest.raises(UserError, match=r"stopped: No space left on device \(status\.json\); what was saved stays"):
        run_sweep(tiny, tmp_path)
    assert [TrialFolder(path).status() for path in tmp_path.glob("trials/*")] == ["queued"]


@pytest.mark.slow
def test_a_second_sweep_on_the_workdir_is_refused(environment, tmp_path):
    long = ("two_sizes", "--config.train.epochs=100")
    first = start(environment, tmp_path, *long)
    wait_for(lambda: list(tmp_path.glob("trials/*/status.json")))
    code, output = finish(environment, tmp_path, *long)
    assert code == 2
    assert f"another sweep is running in {tmp_path}" in output
    kill_all(first)
    first.communicate()


@pytest.mark.slow
def test_a_diverging_trial_leaves_the_other_alone(environment, tmp_path):
    code, output = finish(environment, tmp_path, "diverges")
    assert code == 1
    done, diverged = results.read(tmp_path / "results.csv")
    assert [done["status"], diverged["status"]] == ["done", "diverged"]
    assert "the loss of step" in diverged["error"]
    log = tmp_path / "trials" / diverged["trial"] / "log.txt"
    assert f"{diverged['trial']} diverged" in output
    assert str(log) in output
    assert "diverged: the loss of step" in log.read_text()
    assert done["trial"] not in log.read_text(), "a trial's log is about that trial"
    again, said = finish(environment, tmp_path, "diverges")
    assert again == 1
    assert f"{diverged['trial'].rpartition('-')[0]}: diverged, not trained again (--retry=diverged does)" in said
    assert len(list(tmp_path.glob("output/*"))) == 1
    started = log.read_text().count("compiled the steps")
    assert finish(environment, tmp_path, "diverges", "--retry=failed,diverged")[0] == 1
    assert log.read_text().count("compiled the steps") == started + 1
    assert results.read(tmp_path / "results.csv")[1]["error"] == diverged["error"]
