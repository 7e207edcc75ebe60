"""Width: alpha 1, 0.75, 0.5, 0.25 at the full input size."""

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.sweep.model.alpha = presets.ALPHAS
    return config
