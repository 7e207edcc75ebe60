"""A config file for tests of processes: two trials of a few steps on 256 digits, and switches to break one of them.

The network compiles in a second: what is tested is who trains it, and when. `tests/train` trains MobileNets.
"""

import os

from tests import smooth_network
from tests.conftest import make_tiny


def get_config(case="two_sizes"):
    config = make_tiny(os.environ["TINY_DATA_DIR"])
    config.model.update(name=smooth_network.NAME, alpha=None, total_stride=None)
    config.train.update(epochs=10.0, checkpoint_every_epochs=0.5)
    config.sweep.input_size = (16, 12)
    if case == "diverges":
        config.optim.update(warmup_epochs=0.0)
        config.sweep.optim.learning_rate = (0.05, 1e9)
        config.sweep.input_size = ()
    if case == "tuned":
        config.sweep.update(input_size=(16, 12), seed=(0, 1))
        config.tune.optim.learning_rate = (0.0125, 0.05, 0.1)
    return config
