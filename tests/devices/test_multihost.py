import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from mnet_jax.devices import multihost
from mnet_jax.errors import UserError
from mnet_jax.workdir import predictions, results
from mnet_jax.workdir.files import TrialFolder
from tests.conftest import REPOSITORY, make_tiny
from tests.trials import final_state


@pytest.fixture
def start(data_dir, compilation_cache):
    """Starts `mnet_jax.train` in `processes` processes that share the devices; returns them."""
    running = []

    def run(workdir, processes, devices, *flags):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        environment = os.environ | {
            "TINY_DATA_DIR": data_dir,
            "JAX_COMPILATION_CACHE_DIR": compilation_cache,
            "JAX_NUM_CPU_DEVICES": str(devices // processes),
        }
        joining = [f"--config.launch.coordinator=localhost:{port}", f"--config.launch.num_processes={processes}"]
        for i in range(processes):
            several = [*joining, f"--config.launch.process_id={i}"] if processes > 1 else []
            command = [sys.executable, "-m", "mnet_jax.train", "--config", "tests/tiny_sweep.py", "--workdir", workdir]
            running.append(
                subprocess.Popen(
                    [*command, *several, *flags],
                    env=environment,
                    cwd=REPOSITORY,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
        return running[-processes:]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def finish(processes, code=0):
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output


def trial_in(workdir):
    (path,) = workdir.glob("trials/*")
    return TrialFolder(path)


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["resident", "host"])
def test_two_processes_end_with_the_parameters_of_one(start, tmp_path, streams, tiny_imagenet):
    flags = ["--config.train.epochs=1.0"]
    if streams == "host":
        data = {
            "name": "imagenet",
            "crop": "inception",
            "channels": 3,
            "image_size": 24,
            "train_split": "train",
            "validation_split": "",
            "test_split": "validation",
            **{name: tiny_imagenet.data[name] for name in ("source_dir", "data_dir")},
        }
        flags = [f"--config.data.{name}={value}" for name, value in data.items()]
        flags += ["--config.model.num_classes=3", "--config.train.batch_size=16", "--config.train.epochs=2.0"]
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(one, 1, 2, *flags))
    finish(start(two, 2, 2, *flags))
    expected, ours = final_state(trial_in(one)), final_state(trial_in(two))
    assert expected.keys() == ours.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(ours[key], value, rtol=1e-6, atol=1e-7, err_msg=key)
    for name in ("top1", "top5", "loss", "test_images", "device"):
        assert trial_in(two).result()[name] == pytest.approx(trial_in(one).result()[name])
    (expected, _), (ours, _) = (predictions.of_workdirs([path], results.results(path)) for path in (one, two))
    (name,) = expected
    assert ours[name].tolist() == expected[name].tolist(), "each image's bit comes back from whichever process had it"
    decoded = (two / "trials" / trial_in(two).name / "log.txt").read_text()
    if streams == "host":
        assert "images decoded: 72," in decoded, "half of two epochs of 48 and of a test split of 48"


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_both_resume(start, tmp_path):
    flags = ["--config.train.epochs=12.0"]
    processes = start(tmp_path, 2, 2, *flags)
    deadline = time.monotonic() + 200
    while not (list(tmp_path.glob("trials/*")) and trial_in(tmp_path).saved_step() > 3):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGTERM)
    finish(processes, code=1)
    assert "the interruption of another process" in trial_in(tmp_path).error()
    saved = trial_in(tmp_path).saved_step()
    assert 3 < saved < 48
    finish(start(tmp_path, 2, 2, *flags))
    assert f"resumed from step {saved} of 48" in (trial_in(tmp_path).log_path).read_text()


BROKEN = """
import os
import flax.linen as nn
import jax
from mnet_jax import presets, register_model


class Broken(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train):
        if train and str(jax.process_index()) == os.environ.get("BROKEN"):
            raise ValueError("this process is broken")
        return nn.Dense(self.num_classes)(x.mean((1, 2)))


register_model("broken", Broken)


def get_config():
    config = presets.get("mnist5k")
    config.input_size, config.model.name = 16, "broken"
    splits = {"train_split": "train[:256]", "validation_split": "validation[:72]", "test_split": "test[:100]"}
    config.data.update(data_dir=os.environ["TINY_DATA_DIR"], **splits)
    config.train.update(batch_size=64, epochs=15.0, checkpoint_every_epochs=0.25)
    return config
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    ["raises in 0", "kills 1", *(pytest.param(f, marks=pytest.mark.exhaustive) for f in ("raises in 1", "kills 0"))],
)
def test_what_ends_one_process_ends_all_and_the_next_run_goes_on(start, tmp_path, fault, monkeypatch):
    """None waits for ever for one that has gone: at most the time of JAX's heartbeats."""
    what, number = fault.split()[0], int(fault[-1])
    (tmp_path / "broken.py").write_text(BROKEN)
    config = ("--config", str(tmp_path / "broken.py"))
    if what == "raises":
        monkeypatch.setenv("BROKEN", str(number))
    processes = start(tmp_path / "work", 2, 2, *config)
    if what == "kills":
        deadline = time.monotonic() + 200
        while not (list(tmp_path.glob("work/trials/*")) and trial_in(tmp_path / "work").saved_step() > 3):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        processes[number].kill()
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert all(process.returncode != 0 for process in processes), outputs
    if what == "raises":
        assert "ValueError: this process is broken" in outputs[number]
        assert processes[number].returncode == 1
    monkeypatch.delenv("BROKEN", raising=False)
    finish(start(tmp_path / "work", 2, 2, *config))
    if what == "kills":
        assert "resumed from step" in trial_in(tmp_path / "work").log_path.read_text()


def test_a_process_that_does_not_know_its_number_is_refused(data_dir):
    config = make_tiny(data_dir)
    multihost.initialize(config.launch)
    config.launch.coordinator = "localhost:1234"
    with pytest.raises(UserError, match=r"needs config.launch.num_processes and config.launch.process_id"):
        multihost.initialize(config.launch)
