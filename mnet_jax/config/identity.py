"""What makes two trials the same: one result, one stream of batches, or all but a seed."""

import hashlib
import json
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config.dotted import flatten

HYPERPARAMETERS = ("optim.learning_rate", "optim.weight_decay", "train.label_smoothing")  # in which replicates differ

_IN_THE_STEP = ("mean", "std", "flip", "crop_padding")  # fields of `config.data` that a trial's own step reads

# What cannot change a trial's result, and so is no part of its identity.
_NEUTRAL = (
    "launch",
    "sweep",
    "data.data_dir",
    "data.source_dir",
    "data.read_threads",
    "data.max_bad_images",
    "train.log_every_steps",
    "train.eval_every_epochs",
    "train.checkpoint_every_epochs",
)


def identity(config: ConfigDict) -> dict[str, Any]:
    """The fields of a resolved config that a result depends on, by dotted key."""
    return {
        key: value
        for key, value in flatten(config).items()
        if not any(key == neutral or key.startswith(f"{neutral}.") for neutral in _NEUTRAL)
    }


def trial_hash(config: ConfigDict) -> str:
    """Eight hex digits of a resolved config; equal exactly when the results are."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:8]


def stream_key(config: ConfigDict) -> str:
    """Equal for trials that can train on one stream; of a resolved config."""
    data = {name: value for name, value in config.data.items() if name not in _IN_THE_STEP}
    return json.dumps([data, config.train.batch_size, config.train.epochs, config.model.num_classes], sort_keys=True)


def compile_key(config: ConfigDict) -> str:
    """Equal for trials that run the same compiled steps; of a resolved config."""
    return json.dumps({name: value for name, value in identity(config).items() if name != "seed"})


def replicate_key(config: ConfigDict) -> str:
    """Equal for trials that differ only in their seed or in `HYPERPARAMETERS`; of a resolved config."""
    own = identity(config)
    return json.dumps({name: value for name, value in own.items() if name not in ("seed", *HYPERPARAMETERS)})
