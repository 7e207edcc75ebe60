"""The network of the tour: a file beside the notebook, so that the processes that train can import it."""

import flax.linen as nn
import jax


class PlainNet(nn.Module):
    """Two strided convolutions, group normalisation, a mean over the map.

    Attributes:
      num_classes: size of the output; set by the data.
      width: channels of the first convolution; the second has twice as many.
    """

    num_classes: int
    width: int = 8

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array, train: bool) -> jax.Array:
        x = x_BxHxWxC
        for features in (self.width, 2 * self.width):
            x = nn.Conv(features, (3, 3), strides=2, use_bias=False)(x)
            x = nn.relu(nn.GroupNorm(num_groups=4)(x))
        return nn.Dense(self.num_classes)(x.mean((1, 2)))
