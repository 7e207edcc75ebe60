import contextlib
import os
import signal
import subprocess
import sys

import pytest

from tests.clusters.slurm import missing
from tests.clusters.sweeps import (
    LONG,
    SHORT,
    assert_never_two_at_once,
    assert_no_saved_step_twice,
    min_step,
    nodes,
    trials,
)
from tests.conftest import REPOSITORY
from tests.processes import accuracies, finish, kill_all, logs, start, wait_for

if reason := missing():
    pytest.skip(reason, allow_module_level=True)

pytestmark = pytest.mark.slow

ON_SLURM = ("--launcher=slurm",)


@pytest.fixture(autouse=True)
def an_empty_queue(slurm):
    yield
    slurm.run("scancel", "--user=root")
    wait_for(lambda: not slurm.jobs(), 60)


@contextlib.contextmanager
def training(slurm, workdir, *flags):
    """A sweep whose trials have been in training for a while."""
    driver = start(slurm.environment, workdir, "two_sizes", *LONG, *ON_SLURM, *flags)
    wait_for(lambda: min_step(workdir) > 20 or driver.poll() is not None)
    yield driver
    kill_all(driver)
    driver.communicate()


def test_the_digits_are_those_of_the_local_launcher(slurm, tmp_path):
    for name, flags in (("local", ()), ("slurm", ON_SLURM)):
        code, output = finish(slurm.environment, tmp_path / name, "two_sizes", *SHORT, *flags)
        assert code == 0, output + logs(tmp_path / name)
    assert accuracies(tmp_path / "slurm") == accuracies(tmp_path / "local")
    status = next(trials(tmp_path / "slurm")).last_whereabouts()
    assert status["node"] in ("n1", "n2")
    assert status["job"].endswith(("_0", "_1"))
    assert not list((tmp_path / "slurm" / "jobs").iterdir()), "nothing is left of a job that has ended"


def test_a_driver_that_is_killed_leaves_its_jobs_to_the_next(slurm, tmp_path, undisturbed):
    with training(slurm, tmp_path):
        pass
    code, output = finish(slurm.environment, tmp_path, "two_sizes", *LONG, *ON_SLURM)
    assert code == 0, output + logs(tmp_path)
    assert accuracies(tmp_path) == undisturbed
    assert [len(nodes(folder)) for folder in trials(tmp_path)] == [1, 1], "the jobs went on, alone"
    assert_never_two_at_once(tmp_path)


def test_a_signal_to_the_driver_saves_and_the_same_command_goes_on(slurm, tmp_path, undisturbed):
    with training(slurm, tmp_path) as driver:
        driver.send_signal(signal.SIGTERM)
        output, _ = driver.communicate(timeout=100)
    assert driver.returncode == 1, output
    assert not slurm.jobs()
    assert [folder.status() for folder in trials(tmp_path)] == ["queued", "queued"], output
    code, output = finish(slurm.environment, tmp_path, "two_sizes", *LONG, *ON_SLURM)
    assert code == 0, output + logs(tmp_path)
    assert accuracies(tmp_path) == undisturbed
    assert_never_two_at_once(tmp_path)
    assert_no_saved_step_twice(tmp_path)


@pytest.mark.parametrize("how", ["requeued", "told of its preemption"])
def test_a_job_that_is_put_back_into_the_queue_goes_on(slurm, tmp_path, undisturbed, how):
    with training(slurm, tmp_path) as driver:
        job = slurm.jobs()[0][0]
        slurm.run(*(("scontrol", "requeue", job) if how == "requeued" else ("scancel", "--signal=USR2", job)))
        output, _ = driver.communicate(timeout=400)
        assert driver.returncode == 0, output + logs(tmp_path)
    assert accuracies(tmp_path) == undisturbed
    assert sorted(len(nodes(folder)) for folder in trials(tmp_path)) == [1, 2]
    assert sorted(folder.last_whereabouts().get("requeues", 0) for folder in trials(tmp_path)) == [0, 1]
    assert_never_two_at_once(tmp_path)
    assert_no_saved_step_twice(tmp_path)


def test_a_limit_shorter_than_the_training_is_no_limit(slurm, tmp_path):
    """Turns of half a minute and more, and Slurm's pauses between them."""
    flags = ("--config.train.epochs=300.0", *LONG[1:], "--config.sweep.input_size=(16,)")
    code, output = finish(slurm.environment, tmp_path / "local", "two_sizes", *flags)
    assert code == 0, output
    with training(slurm, tmp_path / "slurm", *flags, "--config.launch.slurm.time=2") as driver:
        output, _ = driver.communicate(timeout=1800)
        assert driver.returncode == 0, output + logs(tmp_path / "slurm")
    assert accuracies(tmp_path / "slurm") == accuracies(tmp_path / "local")
    (trial,) = trials(tmp_path / "slurm")
    assert trial.last_whereabouts()["requeues"] >= 1
    assert_never_two_at_once(tmp_path / "slurm")
    assert_no_saved_step_twice(tmp_path / "slurm")


def test_what_a_node_trained_that_is_set_down_goes_on(slurm, tmp_path, undisturbed):
    with training(slurm, tmp_path) as driver:
        slurm.run("scontrol", "update", "nodename=n1", "state=down", "reason=test")
        try:
            output, _ = driver.communicate(timeout=400)
        finally:
            slurm.run("scontrol", "update", "nodename=n1", "state=resume", check=False)  # it may be back by itself
        assert driver.returncode == 0, output + logs(tmp_path)
    assert accuracies(tmp_path) == undisturbed
    assert sorted(len(nodes(folder)) for folder in trials(tmp_path)) == [1, 2]
    assert_never_two_at_once(tmp_path)
    assert_no_saved_step_twice(tmp_path)


def test_two_hosts_train_a_group_together_through_a_requeue(slurm, tmp_path):
    flags = ("--config.launch.hosts_per_group=2", "--config.sweep.input_size=(16,)")
    with training(slurm, tmp_path, *flags) as driver:
        assert [node for *_, node in slurm.jobs()] == ["n[1-2]"]
        slurm.run("scontrol", "requeue", slurm.jobs()[0][0])
        output, _ = driver.communicate(timeout=400)
        assert driver.returncode == 0, output + logs(tmp_path)
    (trial,) = trials(tmp_path)
    assert "2 x CPU" in trial.result()["device"]
    assert trial.last_whereabouts()["requeues"] == 1
    assert_never_two_at_once(tmp_path)
    assert_no_saved_step_twice(tmp_path)


def test_a_sweep_that_does_not_wait_is_gone_on_with_until_it_is_done(slurm, tmp_path):
    flags = (*SHORT, *ON_SLURM, "--config.launch.slurm.wait=False")
    code, output = finish(slurm.environment, tmp_path, "two_sizes", *flags)
    assert code == 3, output
    jobs = [job for job, *_ in slurm.jobs()]
    assert len(jobs) == 2
    again, output = finish(slurm.environment, tmp_path, "two_sizes", *flags)
    assert again in (0, 3), output
    assert {job for job, *_ in slurm.jobs()} <= set(jobs), "what is in the queue is not submitted again"
    wait_for(lambda: not slurm.jobs())
    code, output = finish(slurm.environment, tmp_path, "two_sizes", *flags)
    assert code == 0, output
    assert [len(nodes(folder)) for folder in trials(tmp_path)] == [1, 1]


def test_a_job_that_waits_and_is_cancelled_is_not_submitted_again_at_once(slurm, tmp_path):
    slurm.run("scontrol", "update", "nodename=n[1-2]", "state=drain", "reason=test")
    try:
        driver = start(slurm.environment, tmp_path, "two_sizes", *SHORT, *ON_SLURM)
        wait_for(lambda: len(slurm.jobs()) == 2 or driver.poll() is not None)
        slurm.run("scancel", "--user=root")
        output, _ = driver.communicate(timeout=60)
    finally:
        slurm.run("scontrol", "update", "nodename=n[1-2]", "state=resume")
    assert driver.returncode == 1, output
    assert "its job was cancelled" in output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.launch.slurm.partition=pp"], "config.launch.slurm.partition='pp': invalid partition"),
        (["--config.launch.slurm.gpus_per_node=8"], "Slurm refuses config.launch.slurm.gpus_per_node=8: "),
        (["--config.launch.slurm.mem=900G"], "Slurm refuses config.launch.slurm.mem='900G': "),
        (["--config.launch.slurm.extra=exclusive"], "'exclusive' is no option like"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_made(slurm, tmp_path, flags, message):
    code, output = finish(slurm.environment, tmp_path / "work", "two_sizes", *SHORT, *ON_SLURM, *flags)
    assert code == 2, output
    assert message in output.splitlines()[-1]
    assert not (tmp_path / "work").exists()


def test_a_workdir_that_the_nodes_do_not_see_is_said(slurm, tmp_path):
    """The driver alone sees a file system that is mounted where the nodes have an empty folder."""
    command = [sys.executable, "-m", "mnet_jax.sweep", "--config", "tests/tiny_sweep.py:two_sizes", *SHORT, *ON_SLURM]
    own = ["unshare", "--mount", "bash", "-c", 'mount -t tmpfs none "$1" && shift && exec "$@"', "-", str(tmp_path)]
    done = subprocess.run(
        [*own, *command, "--workdir", str(tmp_path / "work")],
        env=slurm.environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"all nodes must see the workdir {tmp_path / 'work'}" in done.stderr.splitlines()[-1]
