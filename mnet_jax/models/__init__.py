"""The networks, by the name that `config.model.name` gives them."""

import flax.linen as nn
import jax.numpy as jnp

from mnet_jax.models.mobilenet_v1 import MobileNetV1
from mnet_jax.models.mobilenet_v2 import MobileNetV2

MODELS: dict[str, type[nn.Module]] = {"mobilenet_v1": MobileNetV1, "mobilenet_v2": MobileNetV2}


def build(model_config) -> nn.Module:
    """The network that `config.model` describes; fields left at None take the model's own default.

    Raises:
      KeyError: no model has the name `model_config.name`.
    """
    fields = {key: value for key, value in model_config.items() if key != "name" and value is not None}
    return MODELS[model_config.name](**fields | {"dtype": jnp.dtype(fields["dtype"])})
