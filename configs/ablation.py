"""Ablations: what each idea of V1 and V2 is worth, at its price (V1 paper, Tables 4 and 5; V2 paper, Figure 6).

    python -m mnet_jax.sweep --config configs/ablation.py[:mnist5k | :fashion_mnist | :cifar10 | :imagenet]
    python -m mnet_jax.sweep --config configs/ablation.py:imagenet_modern

V1: the network itself, full convolutions in place of depthwise separable ones (Table 4), and narrow (alpha x 0.75)
against shallow (Table 5). V2: the network itself, no residuals, non-linear bottlenecks (Figure 6), expansion 1. On
small images all of them have half the width, which costs a quarter.

mnist5k (the default; experiments/ablation_mnist5k; by version 0.1, whose order of images differs)
    Device: 2 CPU cores, 12 minutes (shared with tests).
    Mult-Adds: V1 13.3, 115.7, 7.6, 7.9 million; V2 11.1, 11.1, 11.1, 4.1 million.
    Top-1: V1 0.963, 0.978, 0.968, 0.978; V2 0.963, 0.933, 0.919, 0.960.
fashion_mnist, cifar10
    Device: not run yet. Top-1: not measured. Mult-Adds: fashion_mnist as mnist5k.
    cifar10: V1 13.5, 116.9, 7.7, 8.1 million; V2 11.3, 11.3, 11.3, 4.2 million.
imagenet (the papers' setting; mnet_jax/config/presets.py names its sources)
    Device: not run here. Mult-Adds: V1 569, 4867, 325, 307 million; V2 301, 301, 301, 64 million.
    Top-1: published for V1 0.706, 0.717, 0.684, 0.653; V2's Figure 6 gives curves, no numbers.
imagenet_modern (torchvision's "new recipe", 600 epochs; the same file names its sources)
    Device: not run here. Mult-Adds: as imagenet. Top-1: published for V2 itself 0.722.
"""

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.model.alpha = 1.0 if dataset.startswith("imagenet") else 0.5
    return config


def sweep(config):
    narrow = {"model.alpha": 0.75 * config.model.alpha}
    for options in ({}, {"model.separable": False}, narrow, {"model.shallow": True}):
        yield {"model.name": "mobilenet_v1"} | options
    for options in ({}, {"model.residual": False}, {"model.linear_bottleneck": False}, {"model.expansion": 1}):
        yield {"model.name": "mobilenet_v2"} | options
