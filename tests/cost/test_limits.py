"""What is refused by counting alone, and what is just still trained."""

import math

import pytest

from mnet_jax.config.resolve import resolve
from mnet_jax.cost import limits
from mnet_jax.cost.layers import count_network
from mnet_jax.errors import UserError


def checked(config, memory=2**40, **overrides):
    config = resolve(config, overrides)
    limits.check("trial", config, count_network(config), memory)


def test_memory_is_refused_one_byte_below_the_least_and_not_at_it(tiny):
    config = resolve(tiny)
    cost = count_network(config)
    largest = max(math.prod(layer.output_shape) for layer in cost.layers)
    least = 8 * cost.params + 2 * 64 * largest
    checked(tiny, least)
    checked(tiny, 0)  # not known
    with pytest.raises(UserError, match=f"{cost.params:,} parameters .* 64 images at config.input_size=16 in block"):
        checked(tiny, least - 1)


@pytest.mark.parametrize(("batch_size", "input_size", "is_refused"), [(1, 4, True), (2, 4, False), (1, 8, False)])
def test_batch_normalisation_needs_two_values_of_a_channel(tiny, batch_size, input_size, is_refused):
    """At a total stride of 4, four pixels end in a map of one."""
    tiny.train.batch_size = batch_size
    if not is_refused:
        checked(tiny, input_size=input_size)
        return
    with pytest.raises(UserError, match=r"config.train.batch_size=1: block\d+_\w+/bn of trial trial normalises"):
        checked(tiny, input_size=input_size)


def test_imported_weights_that_are_not_trained_need_no_gradients(tiny):
    config = resolve(tiny).unlock()
    config.train.epochs = 0.0
    limits.check("trial", config, count_network(config), 1)
