"""Which trials train together on one stream, and on which devices."""

import collections
import dataclasses
import heapq
import itertools
import math
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from mnet_jax.config.identity import compile_key, stream_key
from mnet_jax.cost.layers import count_network

_MULT_ADDS_PER_BYTE = 92  # 395 T Mult-Adds/s to 4.3 TB/s: an H200, by the figures in the design's roofline.md


@dataclasses.dataclass(frozen=True)
class Group:
    """Trials that train in one process, on one stream.

    Attributes:
      trials: their names, in the order of the sweep.
      cost: predicted; a sum over the trials, comparable only with other groups.
    """

    trials: tuple[str, ...]
    cost: float


def groups(trials: Mapping[str, ConfigDict], most: int, places: int) -> list[Group]:
    """Trials that can share a stream, in groups of equal predicted cost; the most expensive group first.

    Args:
      trials: resolved configs by name.
      most: trials in a group, `config.launch.trials_per_stream`.
      places: groups that can run at the same time; a sweep of fewer streams is divided among them.
    """
    streams: dict[str, dict[tuple[str, ...], float]] = collections.defaultdict(dict)
    for names in _inseparable(trials):
        streams[stream_key(trials[names[0]])][names] = sum(predicted_cost(trials[name]) for name in names)
    parts_per_stream = math.ceil(places / max(1, len(streams)))
    found = []
    for costs in streams.values():
        most_together = max(1, most // max(map(len, costs)))
        parts = _spread(costs, max(math.ceil(len(costs) / most_together), parts_per_stream), most_together)
        found += [Group(tuple(itertools.chain(*part)), sum(costs[names] for names in part)) for part in parts]
    return sorted(found, key=lambda group: -group.cost)


def assign(groups: Sequence[Group], places: int) -> list[list[Group]]:
    """What each place will run, if the predictions hold: always the largest group left, where least was run so far."""
    indices = _spread({i: group.cost for i, group in enumerate(groups)}, places, len(groups))
    return [[groups[i] for i in part] for part in indices]


def predicted_cost(config: ConfigDict) -> float:
    """Of all training steps, in Mult-Adds of a machine that reads or writes a byte of activations in 92 of them."""
    counted = count_network(config)
    per_image = counted.mult_adds + _MULT_ADDS_PER_BYTE * counted.activation_bytes
    return per_image * max(config.train.epochs, 1.0)


def _inseparable(trials: Mapping[str, ConfigDict]) -> list[tuple[str, ...]]:
    """Names of trials that are to train as one vmapped step; a trial alone otherwise."""
    found = collections.defaultdict(list)
    for name, config in trials.items():
        found[compile_key(config) if config.train.vmap_replicates else name].append(name)
    return [tuple(names) for names in found.values()]


def _spread(costs: Mapping, parts: int, most: int) -> list[list]:
    """The keys in lists of at most `most`: the largest cost first, always to the list that costs least so far."""
    found: list[list] = [[] for _ in range(min(parts, len(costs)))]
    open_parts = [(0.0, i) for i in range(len(found))]  # a heap of what they cost so far
    for key in sorted(costs, key=costs.get, reverse=True):
        cost, i = heapq.heappop(open_parts)
        found[i].append(key)
        if len(found[i]) < most:
            heapq.heappush(open_parts, (cost + costs[key], i))
    order = {key: i for i, key in enumerate(costs)}
    return [sorted(part, key=order.get) for part in found]
