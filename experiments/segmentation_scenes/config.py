"""One learning rate serves DeepLabv3 on V2 at the widest and the narrowest alpha, on scenes of digits.

    python -m mnet_jax.sweep --config experiments/segmentation_scenes/config.py --workdir runs/segmentation_rates

The networks of configs/segmentation.py without atrous convolutions, at alpha 1 and 0.25, each at four rates.
"""

from mnet_jax import presets


def get_config():
    config = presets.get("scenes")
    config.sweep.optim.learning_rate = (0.025, 0.05, 0.1, 0.2)
    config.sweep.model.alpha = (1.0, 0.25)
    return config
