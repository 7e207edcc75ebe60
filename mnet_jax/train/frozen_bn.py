"""Training with batch statistics that stay as they are, `config.train.frozen_bn`, as in fine-tuning on few images.

As DeepLab is trained at output stride 8 (Chen et al., 2017, arXiv:1706.05587, section 4.1; `fine_tune_batch_norm` of
its `research/deeplab`). Scales and biases are trained and dropout drops; running statistics are those of the weights
that the training started from, in a new head means of 0 and variances of 1.
"""

import contextlib

import flax.linen as nn
from ml_collections import ConfigDict

from mnet_jax.models.layers import ConvBN


def frozen(config: ConfigDict) -> contextlib.AbstractContextManager[None]:
    """Within it `ConvBN` normalises in training as in evaluations, where a config asks for that.

    Args:
      config: resolved, so its weights are imported ones, which networks of `ConvBN` alone have.
    """
    return nn.intercept_methods(_as_evaluated) if config.train.frozen_bn else contextlib.nullcontext()


def _as_evaluated(call, args, kwargs, context):
    if isinstance(context.module, ConvBN) and context.method_name == "__call__":
        images, _ = args
        return call(images, False)
    return call(*args, **kwargs)
