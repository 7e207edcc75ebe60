"""Real clusters on this machine: three nodes of Ray, two of Slurm; where a package is missing, a reason to skip."""

import os

import pytest

from tests.clusters.slurm import Slurm, missing
from tests.clusters.sweeps import LONG
from tests.processes import accuracies, finish


@pytest.fixture(scope="session")
def environment(data_dir, compilation_cache):
    """Of commands and of nodes. Each process computes on one device, wherever it runs."""
    added = {
        "TINY_DATA_DIR": data_dir,
        "JAX_COMPILATION_CACHE_DIR": compilation_cache,
        "JAX_NUM_CPU_DEVICES": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    return os.environ | added


@pytest.fixture(scope="session")
def undisturbed(environment, tmp_path_factory):
    """The numbers of the long sweep on this machine."""
    workdir = tmp_path_factory.mktemp("local")
    code, output = finish(environment, workdir, "two_sizes", *LONG)
    assert code == 0, output
    return accuracies(workdir)


@pytest.fixture(scope="module")
def ray_cluster(environment):
    """A function that starts a cluster of so many nodes of one CPU, and returns it."""
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    clusters = []
    before = dict(os.environ)
    os.environ.update(environment)

    def start(nodes=3):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        clusters.append(cluster)
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1)
        return cluster

    yield start
    for cluster in clusters:
        cluster.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory, environment):
    """A Slurm of two nodes of one CPU each."""
    if reason := missing():
        pytest.skip(reason)
    with Slurm(tmp_path_factory.mktemp("slurm"), environment) as cluster:
        yield cluster
