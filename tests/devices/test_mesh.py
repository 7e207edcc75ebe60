"""What devices have and share, and a trial that moves to another number of them."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mnet_jax.devices import mesh
from mnet_jax.devices.signals import Interruption
from mnet_jax.errors import UserError
from mnet_jax.train import loop
from tests.conftest import REPOSITORY
from tests.trials import assert_close, final_state, folder_of, scores

TRAIN = """
import contextlib, pathlib, sys
from mnet_jax.devices import process
process.configure()
from mnet_jax.devices.signals import Interrupted
from mnet_jax.models import registry
from mnet_jax.train import loop
from mnet_jax.workdir.files import TrialFolder
from tests import smooth_network
from tests.trials import StopAfter

registry.register(smooth_network.NAME, smooth_network.Small)
with contextlib.suppress(Interrupted):
    loop.train([TrialFolder(pathlib.Path(sys.argv[1]))], StopAfter(int(sys.argv[2])))
"""


@pytest.fixture
def train(compilation_cache):
    """Trains a trial in a process with so many devices, until somebody has looked so often whether to stop."""

    def run(folder, devices, looks):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, str(folder.path), str(looks)],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=REPOSITORY,
            env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_COMPILATION_CACHE_DIR": compilation_cache},
        )
        assert done.returncode == 0, done.stderr

    return run


class Device:
    """An accelerator, and what it says of its memory."""

    platform = "gpu"

    def __init__(self, stats):
        self.memory_stats = lambda: stats


@pytest.mark.parametrize(
    ("stats", "expected"), [([{"bytes_limit": 3}] * 2, 6), ([{"bytes_limit": 3}, None], 0), ([{}], 0)]
)
def test_memory_of_devices_is_theirs_together_or_unknown(stats, expected):
    assert mesh.memory([Device(said) for said in stats]) == expected


def test_devices_share_a_batch_equally():
    mesh.check_batch(64, 8)
    with pytest.raises(UserError, match=r"config.train.batch_size=64: must be a multiple of the 6 devices, such as 66"):
        mesh.check_batch(64, 6)


@pytest.mark.slow
def test_a_trial_goes_on_with_more_or_fewer_devices_as_if_it_had_not_moved(tmp_path, small, train):
    """To the rounding of float32: batch statistics are of the whole batch, wherever its images are."""
    small.train.log_every_steps = 1
    still, moved = (folder_of(tmp_path / name, small) for name in ("still", "moved"))
    loop.train([still], Interruption())
    train(moved, devices=8, looks=4 + 3)
    assert (moved.status(), moved.saved_step()) == ("queued", 3)
    train(moved, devices=3, looks=100)
    assert moved.status() == "failed"
    assert moved.error() == "config.train.batch_size=64: must be a multiple of the 3 devices, such as 63"
    train(moved, devices=1, looks=4 + 3 + 2)  # and the validation split of step 4
    assert (moved.status(), moved.saved_step()) == ("queued", 6)
    train(moved, devices=2, looks=100)
    assert (moved.status(), moved.result()["device"].split()[0]) == ("done", "2")
    assert_close(final_state(moved), final_state(still), 1e-5)
    assert scores(moved) == pytest.approx(scores(still), rel=1e-5)
    losses = [[row["loss"] for row in folder.metrics()] for folder in (moved, still)]
    assert len(losses[0]) == 12 + 3
    np.testing.assert_allclose(*losses, rtol=1e-5)
