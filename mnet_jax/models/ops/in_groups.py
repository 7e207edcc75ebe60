"""Ghost batches: statistics of a few images at a time, as many small devices would take them (Hoffer et al., 2017,
arXiv:1705.08741, Algorithm 1)."""

import functools
from collections.abc import Callable

import jax

from mnet_jax.errors import UserError


def in_groups(normalise: Callable, group: int) -> Callable:
    """A normalisation of a batch that takes the statistics of each `group` consecutive images instead.

    Args:
      normalise: `(x, scale, bias, epsilon, activation) -> (y, mean, variance)`, as `batch_norm.batch_norm_act`.
      group: images; 0 for the whole batch, which is `normalise` itself.

    Returns:
      The same function; mean and variance are the averages of those of the groups.

    Raises:
      UserError: when it is called, the batch is no multiple of the group.
    """
    if not group:
        return normalise

    def normalise_each(x, scale, bias, epsilon, activation):
        if len(x) % group:
            raise UserError(f"bn_group={group}: a batch of {len(x)} images cannot be split into such groups")
        x_GxBxHxWxC = x.reshape(-1, group, *x.shape[1:])
        of_group = functools.partial(normalise, scale=scale, bias=bias, epsilon=epsilon, activation=activation)
        y, *of_groups = jax.vmap(of_group)(x_GxBxHxWxC)
        return y.reshape(x.shape), *(statistic.mean(axis=0) for statistic in of_groups)

    return normalise_each
