"""The grid: four alphas x four input sizes, 16 trials."""

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.sweep.model.alpha = presets.ALPHAS
    config.sweep.input_size = presets.input_sizes(config)
    return config
