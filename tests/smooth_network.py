"""A network that compiles in a second and through which rounding does not grow, with all that a MobileNet has."""

import flax.linen as nn
import jax.numpy as jnp

NAME = "tests.smooth_network:Small"


class Small(nn.Module):
    """A convolution, batch normalisation, a smooth activation, dropout and a dense layer."""

    num_classes: int
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(8, (3, 3), 2, use_bias=False, dtype=self.dtype)(x)
        x = nn.BatchNorm(not train, momentum=0.9, dtype=self.dtype)(x)
        x = nn.tanh(x).reshape(len(x), -1)
        return nn.Dense(self.num_classes, dtype=self.dtype)(nn.Dropout(0.2, deterministic=not train)(x))
