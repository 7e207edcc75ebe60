"""Batch statistics of each device, `config.model.bn_devices="local"`: the step of `jax.pmap`, or of a process per GPU.

So the papers' networks were trained: each device normalises its own images of the batch and keeps running statistics
of its own. They are saved as they are; what is evaluated is their mean over the devices, as in flax's ImageNet example.
In the state of several devices, every array under "batch_stats" has them as its first axis; the state, the step and the
numbers of one device are those of "global".
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from mnet_jax.devices.mesh import check_batch, replicated_on, sharded_on
from mnet_jax.errors import UserError
from mnet_jax.models import registry

Gradient = Callable[..., tuple[tuple[jax.Array, Any], Any]]


def is_local(config: ConfigDict) -> bool:
    """Whether several devices would have statistics of their own; not in a config from before the field was there."""
    return config.model.get("bn_devices") == "local"


def images_together(config: ConfigDict, num_devices: int) -> int:
    """How many images of a training batch are normalised together.

    Raises:
      UserError: the devices cannot share the batch, or a device's images cannot be split into groups of
        `config.model.bn_group`.
    """
    batch_size, group = config.train.batch_size, config.model.get("bn_group")
    check_batch(batch_size, num_devices)
    on_device = batch_size // num_devices
    if not isinstance(group, int) or not group:  # a network of one's own may call something else so
        return on_device if is_local(config) else batch_size
    if on_device % group:
        nearest = min((n for n in range(1, on_device + 1) if on_device % n == 0), key=lambda n: abs(n - group))
        raise UserError(
            f"config.model.bn_group={group}: must divide the {on_device} images of a device "
            f"(config.train.batch_size={batch_size}, devices: {num_devices}), such as {nearest}"
        )
    return group


def on_each_device(gradient: Gradient, mesh: Mesh) -> Gradient:
    """The gradient that each device computes of its own images, averaged over the devices.

    Device i draws from `fold_in(key, i)`, as if there were no others: what the network drops, and how its images are
    mixed with each other. What augments an image was drawn before, by its place in the whole batch.

    Args:
      gradient: `(params, batch_stats, images, targets, keys) -> ((loss, batch_stats), grads)` of one device.
      mesh: of the devices.

    Returns:
      The same function of all images, for `batch_stats` that have the devices as their first axis. Loss and gradients
      are replicated; nothing else is exchanged.
    """

    def of_device(params, batch_stats, images, targets, keys):
        own = jax.tree.map(lambda statistic: statistic[0], batch_stats)
        keys = [jax.random.fold_in(key, lax.axis_index("data")) for key in keys]
        (loss, own), grads = gradient(params, own, images, targets, keys)
        loss, grads = lax.pmean((loss, grads), "data")
        return (loss, jax.tree.map(lambda statistic: statistic[jnp.newaxis], own)), grads

    everywhere, split = PartitionSpec(), PartitionSpec("data")
    return jax.shard_map(
        of_device,
        mesh=mesh,
        in_specs=(everywhere, split, split, split, everywhere),
        out_specs=((everywhere, split), everywhere),
        check_vma=False,  # else the gradients of replicated parameters are sums over the devices already
    )


def abstract_statistics(config: ConfigDict) -> Any:
    """Shapes of the batch statistics of a resolved config's network; empty where it has none."""
    return registry.abstract_variables(config).get("batch_stats", {})


def saved_devices(saved: Any, statistics: Any) -> int:
    """How many devices have statistics in a checkpoint.

    Args:
      saved: what `Checkpoints.saved` says of it.
      statistics: those of the network, or their shapes.
    """
    theirs, ours = (jax.tree.leaves(tree)[0].shape for tree in (saved["batch_stats"], statistics))
    return theirs[0] if len(theirs) > len(ours) else 1


def check_goes_on(name: str, config: ConfigDict, checkpoints: Any, num_devices: int) -> None:
    """Refuses to go on with a trial on another number of devices: nobody has the statistics of those that are new.

    Args:
      name: of the trial.
      config: resolved.
      checkpoints: the `checkpoint.Checkpoints` of the trial.
      num_devices: that there are.

    Raises:
      UserError: the message has both numbers.
    """
    if not is_local(config) or (saved := checkpoints.saved()) is None:
        return
    if (before := saved_devices(saved, abstract_statistics(config))) != num_devices:
        raise UserError(
            f"config.model.bn_devices='local': trial {name} has batch statistics of each of {before} devices, and here "
            f"are {num_devices}: it can go on with {before} only"
        )


def spread(tree: Any, num_devices: int) -> Any:
    """A state or variables with a copy of the batch statistics for each device."""
    return _of_statistics(lambda leaf: jnp.broadcast_to(leaf, (num_devices, *leaf.shape)), lambda leaf: leaf, tree)


def averaged(variables: Any) -> Any:
    """{"params", "batch_stats"} with the mean of the devices' statistics; where they are equal, it is equal to them."""

    def mean(leaf):
        first = leaf[:1]
        return (first + (leaf - first).mean(axis=0, keepdims=True))[0]

    return _of_statistics(mean, lambda leaf: leaf, variables)


def shardings(tree: Any, mesh: Mesh, local: bool) -> Any:
    """Where each array of a state or of variables is: replicated, but for the statistics that devices have alone."""
    everywhere, split = replicated_on(mesh), sharded_on(mesh)
    return _of_statistics(lambda _: split if local else everywhere, lambda _: everywhere, tree)


def stacked(shardings: Any) -> Any:
    """Of arrays with one more axis in front, which is not split."""
    return jax.tree.map(
        lambda s: s if s.is_fully_replicated else NamedSharding(s.mesh, PartitionSpec(None, *s.spec)), shardings
    )


def _of_statistics(change: Callable, keep: Callable, tree: Any) -> Any:
    def changed(path, leaf):
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        return change(leaf) if "batch_stats" in names else keep(leaf)

    return jax.tree_util.tree_map_with_path(changed, tree)
