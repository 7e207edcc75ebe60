"""The look at what a network returned, in the words of its author."""

from typing import Any

import jax
import jax.numpy as jnp

from mnet_jax.errors import UserError


def checked(found: Any, expected: tuple[int, ...], axes: str, network: str) -> jax.Array:
    """Logits, in float32 or better.

    Args:
      found: what the network returned.
      expected: the shape of the task's logits.
      axes: their names.
      network: its name.

    Raises:
      UserError: it is no array of that shape.
    """
    if getattr(found, "shape", None) != expected:
        what = f"the shape {found.shape}" if hasattr(found, "shape") else type(found).__name__
        raise UserError(f"network {network} returns {what}; expected are logits ({axes}), here {expected}")
    return found.astype(jnp.promote_types(found.dtype, jnp.float32))
