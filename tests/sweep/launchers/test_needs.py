"""What a group asks Ray for, by what its nodes have."""

import re

import pytest

from mnet_jax import presets
from mnet_jax.errors import UserError
from mnet_jax.sweep.launchers.ray import Needs, needs

GIB = 2**30


@pytest.fixture
def launch():
    return presets.get("mnist5k").launch


def test_a_group_has_a_node_of_cpus(launch):
    nodes = [{"CPU": 8.0, "memory": 30.0 * GIB}, {"CPU": 4.0, "memory": 20.0 * GIB}, {"memory": 1.0}]
    assert needs(nodes, launch) == Needs("CPU", devices=1, cpus=4, places=3, memory=20 * GIB)


def test_a_group_has_one_gpu_and_its_share_of_the_cpus(launch):
    nodes = [{"CPU": 4.0}, {"CPU": 32.0, "GPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}]
    assert needs(nodes, launch) == Needs("GPU", devices=1, cpus=4, places=10, memory=0)


def test_a_group_has_as_many_gpus_as_it_wants_of_one_node(launch):
    launch.devices_per_group = 4
    assert needs([{"CPU": 32.0, "GPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}], launch) == Needs("GPU", 4, 16, 2, 0)


def test_a_group_has_all_chips_of_a_tpu_host(launch):
    assert needs([{"CPU": 1.0}, {"CPU": 96.0, "TPU": 4.0}], launch) == Needs("TPU", 4, 96, 1, 0)


def test_hosts_share_a_group(launch):
    launch.hosts_per_group = 2
    assert needs([{"CPU": 8.0, "GPU": 1.0}] * 5, launch).places == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"devices_per_group": 9}, "config.launch.devices_per_group=9: no node of the Ray cluster has so many"),
        ({"hosts_per_group": 3}, "config.launch.hosts_per_group=3: the Ray cluster has 2 nodes with 1 GPU"),
        ({"ray.cpus_per_group": 40}, "config.launch.ray.cpus_per_group=40: no node of the Ray cluster has so"),
    ],
)
def test_more_than_there_is_is_refused_unless_it_may_come(launch, fields, message):
    for key, value in fields.items():
        node = launch.ray if key.startswith("ray.") else launch
        node[key.removeprefix("ray.")] = value
    nodes = [{"CPU": 32.0, "GPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}]
    with pytest.raises(UserError, match=re.escape(message)):
        needs(nodes, launch)
    launch.ray.autoscaling = True
    assert needs(nodes, launch).places >= 1
