"""Resolution: four input sizes in the paper's ratios 224:192:160:128 at alpha 1."""

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.sweep.input_size = presets.input_sizes(config)
    return config
