"""Resolved configs in which, between them, every field has an effect, and a second value for each field."""

from mnet_jax import presets
from mnet_jax.config.field import Choices
from mnet_jax.config.fields import FIELDS
from mnet_jax.config.resolve import resolve
from mnet_jax.workdir import results
from tests.finished import changed

_DEFAULTS = {field.key: field.default for field in FIELDS}
_NUMBERS = (1, 2, 3, 5, 0.5, 0.25)


def config_of(overrides=None):
    return resolve(presets.get("mnist5k"), overrides).to_dict()


CONFIGS = {
    "sgd": config_of(),
    "rmsprop": config_of({"optim.name": "rmsprop", "optim.schedule": "exponential"}),
    "polynomial": config_of({"optim.schedule": "polynomial"}),
    "randaugment": config_of({"data.augment": "randaugment"}),
    "large images": config_of({"data.crop": "inception", "data.cache_side": 64}),
    "masks": changed(config_of(), "data.name", "mask_folder"),
    "folder": changed(config_of(), "data.name", "image_folder"),
}


def another(field, value):
    """A second valid value of a field."""
    if isinstance(field.rule, Choices):
        return next(choice for choice in field.rule.known if choice != value)
    candidates = {
        str: (f"{value or ''}x",),
        bool: (not value,),
        tuple: ((0.25,),),
        int: (n for n in _NUMBERS if isinstance(n, int)),
        float: map(float, _NUMBERS),
    }
    return next(v for v in candidates[field.kind] if v != value and field.complaint(v) is None)


def flat_of(config):
    return _DEFAULTS | dict(results.leaves(config))
