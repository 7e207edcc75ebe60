"""`from mnet_jax import presets`, as config files write it."""

from mnet_jax.config.presets import *  # noqa: F403
