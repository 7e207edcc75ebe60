"""What vmapped replicates would gain on a GPU, estimated before anything trains; `train.vmap_replicates` decides.

Steps of one stream run one after another. A small network's step lasts as long as it takes to start its kernels,
however few images they compute; replicates in one vmapped step share those starts. `python -m benchmarks.kernel_starts`
prints the estimate for the papers' grid.
"""

import collections
from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from mnet_jax.config.identity import compile_key
from mnet_jax.cost.layers import count_network
from mnet_jax.sweep.launchers.contract import Capacity

_KERNELS_PER_LAYER = 20  # forward, backward and update of a layer with Mult-Adds; V1 compiled for an H100
_BYTES_PER_ACTIVATION_BYTE = 14  # moved by a step, for one that a layer puts out; V1 and V2 compiled for an H100
_BYTES_PER_SECOND = 3.35e12  # of an H100's memory, by its data sheet
_SECONDS_PER_KERNEL = 2e-6  # assumed
_WORTH = 1.5  # times as fast, at least, to speak of it


class StepEstimate(NamedTuple):
    """Of one training step on one H100. An estimate: of its constants two are compiled, and none was measured.

    Attributes:
      memory_seconds: to move what the step moves.
      start_seconds: to start its kernels one after another.
    """

    memory_seconds: float
    start_seconds: float

    @property
    def start_share(self) -> float:
        """Of the step's time, in which no memory moves: 0 where memory is the limit."""
        return max(0.0, 1 - self.memory_seconds / self.start_seconds)

    def gain(self, replicates: int) -> float:
        """How many times as fast so many replicates are as one vmapped step."""
        return replicates * max(self) / max(replicates * self.memory_seconds, self.start_seconds)


def estimate(config: ConfigDict, num_devices: int = 1) -> StepEstimate:
    """Of a step of a resolved config, whose batch so many devices share."""
    cost = count_network(config)
    moved = _BYTES_PER_ACTIVATION_BYTE * cost.activation_bytes * config.train.batch_size / num_devices
    kernels = _KERNELS_PER_LAYER * sum(layer.mult_adds > 0 for layer in cost.layers)
    return StepEstimate(moved / _BYTES_PER_SECOND, kernels * _SECONDS_PER_KERNEL)


def advice(trials: Mapping[str, ConfigDict], capacity: Capacity) -> str | None:
    """A sentence for people whose replicates would gain most as one vmapped step; None where that is not worth it.

    Args:
      trials: resolved configs by name, of those that will train.
      capacity: where; the estimate is for GPUs alone.
    """
    if capacity.platform != "gpu":
        return None
    alike = collections.defaultdict(list)
    for name, config in trials.items():
        if not config.train.vmap_replicates and config.train.epochs:
            alike[compile_key(config)].append(name)
    gains = [
        (estimate(trials[names[0]], capacity.num_devices).gain(len(names)), len(names), names[0])
        for names in alike.values()
    ]
    gain, number, name = max(gains, default=(1.0, 0, ""))
    if gain < _WORTH:
        return None
    return (
        f"{number} trials like {name} differ in seed, rate, decay or smoothing: as one step they would train about "
        f"{gain:.1f} times as fast, by an estimate (--config.train.vmap_replicates)"
    )
