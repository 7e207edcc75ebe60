"""The fast layers compute what the textbook ones do: 200 steps of both from the same three seeds.

    python -m mnet_jax.sweep --config experiments/fast_vs_textbook/config.py --workdir runs/fast_vs_textbook
    python experiments/fast_vs_textbook/compare.py runs/fast_vs_textbook

Device: 2 CPU cores. Mult-Adds: 3.4 million. Top-1: see README.md.
"""

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.model.alpha = 0.25
    config.train.update(epochs=1.835, log_every_steps=1)  # 200 steps of 32 of 3,500 digits
    return config


def sweep(config):
    for layers in ("fast", "textbook"):
        for seed in (0, 1, 2):
            yield {"model.layers": layers, "seed": seed}
