"""A network of one's own, and a function of a file beside it."""

import sys

from mnet_jax.config import own

NETWORK = '''
    """A small network."""
    import flax.linen as nn
    from helpers import widened

    SCALE = 2
    AXIS = (1, 2)
    TABLE = []
    TABLE.append(8)

    def scaled(scale): 'one line'; return scale

    class Net(nn.Module):
        """Docstring."""
        num_classes: int
        width: int = 4
        rate: float = 1
        groups: int | None = None
        pair: tuple[int, int] = (1, 2)
        activation: object = None

        @nn.compact
        def __call__(self, x, train):
            # a comment
            return nn.Dense(self.num_classes)(widened(x, scaled(SCALE) * TABLE[0]).mean((1, 2)))

    def get_config():
        return AXIS
'''


HELPERS = """
    import numpy as np

    def widened(x, scale):
        return x * scale

    def unused():
        return 1
"""


def forget(folder):
    """As another process begins."""
    own._executed.clear()
    for name, module in list(sys.modules.items()):
        if str(folder) in str(own._place(module)):
            del sys.modules[name]
