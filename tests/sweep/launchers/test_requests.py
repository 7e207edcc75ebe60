"""What is asked of Slurm."""

import pytest

from mnet_jax import presets
from mnet_jax.errors import UserError
from mnet_jax.sweep.launchers.slurm import _seconds_to_save, requested


def test_fields_are_the_options_of_sbatch():
    launch = presets.get("mnist5k").launch
    assert requested(launch) == {"nodes": 1, "ntasks-per-node": 1}
    launch.hosts_per_group = 2
    launch.slurm.update(partition="gpu", time="4:00:00", gpus_per_node=8, extra="--exclusive --licenses='a b:1'")
    assert requested(launch) == {
        "nodes": 2, "ntasks-per-node": 1, "partition": "gpu", "time": "4:00:00", "gpus-per-node": 8, "exclusive": True,
        "licenses": "a b:1",
    }  # fmt: skip


@pytest.mark.parametrize("extra", ["exclusive", "-p gpu", "--", "--licenses a:1"])
def test_what_is_no_option_is_refused(extra):
    launch = presets.get("mnist5k").launch
    launch.slurm.extra = extra
    with pytest.raises(UserError, match="is no option like --licenses=a:1"):
        requested(launch)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [(None, 90), ("60", 90), ("4", 90), ("2", 30), ("2:40", 50), ("0:02:00", 30), ("0-1", 90), ("0-0:02", 30),
     ("4:00:00", 90), ("2-0:0:0", 90), ("1", 1), ("UNLIMITED", 90)],
)  # fmt: skip
def test_there_is_time_to_save_and_to_train(limit, seconds):
    assert _seconds_to_save(limit) == seconds
