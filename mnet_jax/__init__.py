"""Grids of small networks, trained, and their accuracy drawn against what they cost.

Everything here is imported at its first use, so `import mnet_jax` costs nothing. The commands, such as
`python -m mnet_jax.sweep`, are callers of the same functions.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnet_jax.config.presets import get as get_preset
    from mnet_jax.cost.layers import count
    from mnet_jax.data.registry import register_dataset
    from mnet_jax.errors import UserError
    from mnet_jax.models.mobilenet_v1 import MobileNetV1
    from mnet_jax.models.mobilenet_v2 import MobileNetV2
    from mnet_jax.models.mobilenet_v3 import (
        MobileNetV3Large,
        MobileNetV3LargeMinimalistic,
        MobileNetV3Small,
        MobileNetV3SmallMinimalistic,
    )
    from mnet_jax.models.registry import register as register_model
    from mnet_jax.sweep.grid import expand
    from mnet_jax.sweep.run import run_sweep
    from mnet_jax.train.trained import load
    from mnet_jax.workdir.results import results

_WHERE = {
    "get_preset": "config.presets:get",
    "expand": "sweep.grid:expand",
    "count": "cost.layers:count",
    "run_sweep": "sweep.run:run_sweep",
    "results": "workdir.results:results",
    "load": "train.trained:load",
    "register_model": "models.registry:register",
    "register_dataset": "data.registry:register_dataset",
    "UserError": "errors:UserError",
    "MobileNetV1": "models.mobilenet_v1:MobileNetV1",
    "MobileNetV2": "models.mobilenet_v2:MobileNetV2",
    "MobileNetV3Large": "models.mobilenet_v3:MobileNetV3Large",
    "MobileNetV3LargeMinimalistic": "models.mobilenet_v3:MobileNetV3LargeMinimalistic",
    "MobileNetV3Small": "models.mobilenet_v3:MobileNetV3Small",
    "MobileNetV3SmallMinimalistic": "models.mobilenet_v3:MobileNetV3SmallMinimalistic",
}

__all__ = [
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3LargeMinimalistic",
    "MobileNetV3Small",
    "MobileNetV3SmallMinimalistic",
    "UserError",
    "count",
    "expand",
    "get_preset",
    "load",
    "register_dataset",
    "register_model",
    "results",
    "run_sweep",
]


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'mnet_jax' has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    return getattr(importlib.import_module(f"mnet_jax.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
