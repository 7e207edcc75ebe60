"""The numbers of a training that are arguments of its compiled step: trials that differ only in them share one."""

import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mnet_jax.config.dotted import flatten
from mnet_jax.config.identity import HYPERPARAMETERS

Values = Mapping[str, Any]  # float32 scalars by dotted key


def values_of(config: ConfigDict) -> dict[str, np.float32]:
    """Those of a resolved config."""
    flat = flatten(config)
    return {name: np.float32(flat[name]) for name in HYPERPARAMETERS}


def with_values(config: ConfigDict, values: Values, prefix: str = "") -> types.SimpleNamespace:
    """The config with some fields replaced by traced scalars, which a ConfigDict would not take."""

    def replaced(name: str, value: Any) -> Any | jax.Array:
        path = f"{prefix}{name}"
        return with_values(value, values, f"{path}.") if isinstance(value, ConfigDict) else values.get(path, value)

    return types.SimpleNamespace(**{name: replaced(name, value) for name, value in config.items()})
