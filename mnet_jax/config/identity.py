"""What makes two trials the same: one result, one stream of batches, or all but a seed."""

import hashlib
import json
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config.dotted import flatten
from mnet_jax.config.fields import BY_KEY, effective
from mnet_jax.models import registry

HYPERPARAMETERS = ("optim.learning_rate", "optim.weight_decay", "train.label_smoothing")  # arguments of the step

ORDER = 2  # version of the order of the examples; 1 was NumPy's permutation

_IN_THE_STEP = (  # fields of `config.data` that a trial's own step reads
    *("mean", "std", "flip", "crop_padding"),
    *("min_scale", "max_scale", "eval_scales", "eval_flip"),
    *("augment", "augment_ops", "augment_magnitude", "random_erasing"),
)


def identity(config: ConfigDict) -> dict[str, Any]:
    """What the result of a resolved config depends on: the fields with an effect that are not at their default.

    So a field that a later version adds leaves the trials alone that do not use it. Data and weights of one's own stand
    for their content, not for their path; a network of one's own for its name, so that a change of its source is seen
    as one.
    """
    known = registry.options(registry.find(config.model.name))
    defaults = {f"model.{name}": option.default for name, option in known.items()}
    defaults |= {key: field.default for key, field in BY_KEY.items()}
    own = {key: value for key, value in effective(flatten(config)).items() if value != defaults.get(key)}
    for key in ("model.name", "data.name"):
        if ":" in own.get(key, ""):
            own[key] = own[key].rpartition("/")[2]
    return own | ({"order": ORDER} if config.train.epochs else {})


def trial_hash(config: ConfigDict) -> str:
    """Eight hex digits of a resolved config; equal exactly when the results are."""
    return _digest(identity(config))


def stream_key(config: ConfigDict) -> str:
    """Equal for trials that can train on one stream; of a resolved config."""
    data = {name: value for name, value in config.data.items() if name not in _IN_THE_STEP}
    return json.dumps([data, config.train.batch_size, config.train.epochs, config.model.num_classes], sort_keys=True)


def compile_key(config: ConfigDict) -> str:
    """Equal for trials that run the same compiled steps, which differ only in seed or `HYPERPARAMETERS`; resolved."""
    own = identity(config) | {"source": config.model.get("fingerprint")}
    return json.dumps({name: value for name, value in own.items() if name not in ("seed", *HYPERPARAMETERS)})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
