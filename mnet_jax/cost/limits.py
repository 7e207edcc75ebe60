"""What cannot be trained, told from the counted network before anything is compiled."""

import math

from ml_collections import ConfigDict

from mnet_jax.cost.layers import Cost
from mnet_jax.errors import UserError

_OF_A_PARAMETER = 4 + 4  # bytes, with its gradient; the norm needs all of them at once
_OF_A_VALUE = 2  # of an activation, at least


def check(name: str, config: ConfigDict, cost: Cost, memory: int, together: int | None = None) -> None:
    """Refuses a trial that batch normalisation would teach nothing, and one that has no room.

    Args:
      name: of the trial.
      config: resolved.
      cost: of its network.
      memory: of the devices that train it, together, in bytes; 0 where it is not known.
      together: images that are normalised together; by default the batch.

    Raises:
      UserError: the message has the numbers.
    """
    if not config.train.epochs:
        return
    batch_size = config.train.batch_size
    for layer in cost.layers:
        if layer.kind == "batch_norm" and (together or batch_size) * math.prod(layer.output_shape[:-1]) == 1:
            word, key, value = "batch", "train.batch_size", batch_size
            if config.model.get("bn_group") == 1:
                word, key, value = "group", "model.bn_group", 1
            raise UserError(
                f"config.{key}={value}: {layer.name} of trial {name} normalises one value per channel, its own mean; "
                f"the smallest {word} is --config.{key}={2 * value}"
            )
    largest = max(cost.layers, key=lambda layer: math.prod(layer.output_shape))
    least = _OF_A_PARAMETER * cost.params + _OF_A_VALUE * batch_size * math.prod(largest.output_shape)
    if memory and least > memory:
        raise UserError(
            f"trial {name}: {cost.params:,} parameters with their gradients, and {batch_size} images at "
            f"config.input_size={config.input_size} in {largest.name}, need {_gib(least)} at least; there are "
            f"{_gib(memory)}"
        )


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:,.1f} GiB"
