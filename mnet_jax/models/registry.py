"""The networks, by the name that `config.model.name` gives them."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from mnet_jax.models import mobilenet_v3
from mnet_jax.models.mobilenet_v1 import MobileNetV1
from mnet_jax.models.mobilenet_v2 import MobileNetV2

MODELS: dict[str, type[nn.Module]] = {
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v3_large": mobilenet_v3.MobileNetV3Large,
    "mobilenet_v3_small": mobilenet_v3.MobileNetV3Small,
    "mobilenet_v3_large_minimalistic": mobilenet_v3.MobileNetV3LargeMinimalistic,
    "mobilenet_v3_small_minimalistic": mobilenet_v3.MobileNetV3SmallMinimalistic,
}


def defaults(name: str) -> dict[str, object]:
    """The fields that a model has, and their defaults; `num_classes` has none."""
    fields = dataclasses.fields(MODELS[name])
    return {f.name: f.default for f in fields if f.init and f.name not in ("parent", "name", "num_classes")}


def build(model_config) -> nn.Module:
    """The network that `config.model` describes; fields left at None take the model's own default.

    Raises:
      KeyError: no model has the name `model_config.name`.
      TypeError: a field is set that the model does not have.
    """
    fields = {key: value for key, value in model_config.items() if key != "name" and value is not None}
    return MODELS[model_config.name](**fields | {"dtype": jnp.dtype(fields["dtype"])})
