import signal

import psutil
import pytest

from tests.clusters.sweeps import (
    LONG,
    SHORT,
    assert_never_two_at_once,
    assert_no_saved_step_twice,
    min_step,
    nodes,
    trials,
)
from tests.processes import accuracies, finish, kill_all, logs, start, wait_for

pytest.importorskip("ray", reason="Ray is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(ray_cluster):
    return ray_cluster(3)


@pytest.fixture
def on_ray(cluster):
    return ("--launcher=ray", f"--config.launch.ray.address={cluster.address}")


def test_the_digits_are_those_of_the_local_launcher(environment, tmp_path, on_ray):
    for name, flags in (("local", ()), ("ray", on_ray)):
        code, output = finish(environment, tmp_path / name, "two_sizes", *SHORT, *flags)
        assert code == 0, output + logs(tmp_path / name)
    assert accuracies(tmp_path / "ray") == accuracies(tmp_path / "local")
    status = next(trials(tmp_path / "ray")).last_whereabouts()
    assert status["job"].startswith("ray-")
    assert "/" in status["node"]
    assert not list((tmp_path / "ray" / "jobs").iterdir()), "nothing is left of a job that has ended"


def test_a_driver_that_is_killed_leaves_its_workers_to_the_next(environment, tmp_path, on_ray, undisturbed):
    driver = start(environment, tmp_path, "two_sizes", *LONG, *on_ray)
    wait_for(lambda: min_step(tmp_path) > 20 or driver.poll() is not None)
    kill_all(driver)
    driver.communicate()
    code, output = finish(environment, tmp_path, "two_sizes", *LONG, *on_ray)
    assert code == 0, output + logs(tmp_path)
    assert accuracies(tmp_path) == undisturbed
    assert [len(nodes(folder)) for folder in trials(tmp_path)] == [1, 1], "the workers went on, alone"
    assert_never_two_at_once(tmp_path)


def test_a_signal_to_the_driver_saves_and_the_same_command_goes_on(environment, tmp_path, on_ray, undisturbed):
    driver = start(environment, tmp_path, "two_sizes", *LONG, *on_ray)
    wait_for(lambda: min_step(tmp_path) > 20 or driver.poll() is not None)
    driver.send_signal(signal.SIGTERM)
    output, _ = driver.communicate(timeout=100)
    assert driver.returncode == 1, output
    assert [folder.status() for folder in trials(tmp_path)] == ["queued", "queued"], output
    assert not any(folder.is_locked() for folder in trials(tmp_path))
    code, output = finish(environment, tmp_path, "two_sizes", *LONG, *on_ray)
    assert code == 0, output + logs(tmp_path)
    assert accuracies(tmp_path) == undisturbed
    assert_never_two_at_once(tmp_path)
    assert_no_saved_step_twice(tmp_path)


def test_what_a_dead_node_trained_goes_on_elsewhere(environment, tmp_path, cluster, on_ray, undisturbed):
    """SIGKILL to all that runs on the node, as when its machine dies; another node comes later."""
    driver = start(environment, tmp_path, "two_sizes", *LONG, *on_ray)
    wait_for(lambda: min_step(tmp_path) > 20 or driver.poll() is not None)
    where = {nodes(folder)[-1].rpartition("/")[2] for folder in trials(tmp_path)}
    workers = [node for node in cluster.list_all_nodes() if node is not cluster.head_node]
    dying = next(node for node in workers if node.node_id[:8] in where)
    for raylet in dying.all_processes["raylet"]:
        on_node = psutil.Process(raylet.process.pid)
        for process in (on_node, *on_node.children(recursive=True)):
            process.kill()
    cluster.add_node(num_cpus=1)
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, output + logs(tmp_path)
    assert accuracies(tmp_path) == undisturbed
    assert sorted(len(nodes(folder)) for folder in trials(tmp_path)) == [1, 2]
    assert_never_two_at_once(tmp_path)
    assert_no_saved_step_twice(tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.launch.ray.address=127.0.0.1:9"], "config.launch.ray.address='127.0.0.1:9': nobody answers"),
        (["--config.launch.devices_per_group=4096"], "no node of the Ray cluster has so many"),
        (["--config.launch.ray.cpus_per_group=4096"], "no node of the Ray cluster has so many; the most is 1"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_made(environment, tmp_path, on_ray, flags, message):
    code, output = finish(environment, tmp_path / "work", "two_sizes", *SHORT, *on_ray, *flags)
    assert code == 2, output
    assert message in output.splitlines()[-1]
    assert not (tmp_path / "work").exists()


def test_two_hosts_train_a_group_together_and_survive_each_other(environment, tmp_path, cluster, on_ray):
    """The worker of one is killed: both start again from the last checkpoint, and end as two that nobody disturbed."""
    flags = (*LONG, "--config.launch.hosts_per_group=2", "--config.sweep.input_size=(16,)", *on_ray)
    code, output = finish(environment, tmp_path / "undisturbed", "two_sizes", *flags)
    assert code == 0, output + logs(tmp_path / "undisturbed")
    killed = tmp_path / "killed"
    driver = start(environment, killed, "two_sizes", *flags)
    wait_for(lambda: min_step(killed) > 20 or driver.poll() is not None)
    processes = psutil.process_iter(["cmdline"])
    arguments = {process: str(process.info["cmdline"]) for process in processes}
    workers = [process for process, said in arguments.items() if "--join=" in said and f"{killed}/" in said]
    assert len(workers) == 2
    workers[0].kill()
    output, _ = driver.communicate(timeout=400)
    assert driver.returncode == 0, output + logs(killed)
    assert accuracies(killed) == accuracies(tmp_path / "undisturbed")
    (trial,) = trials(killed)
    assert "2 x CPU" in trial.result()["device"]
    assert "resumed from step" in trial.log_path.read_text()
    assert_never_two_at_once(killed)
    assert_no_saved_step_twice(killed)
