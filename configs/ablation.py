"""Ablations: what each idea of V1 and V2 is worth, at its price (V1 paper, Tables 4 and 5; V2 paper, Figure 6).

    python -m mnet_jax.sweep --config configs/ablation.py[:mnist5k | :fashion_mnist | :cifar10 | :imagenet]
    python -m mnet_jax.sweep --config configs/ablation.py:imagenet_modern

V1: the network itself, full convolutions in place of depthwise separable ones (Table 4), and narrow (alpha x 0.75)
against shallow (Table 5). V2: the network itself, no residuals, non-linear bottlenecks (Figure 6), expansion 1. On
small images all of them have half the width, which costs a quarter, the smallest of the four input sizes, three seeds,
and the learning rate that is best for it on the validation split, as one rate for all would compare rates.

mnist5k (the default), fashion_mnist: 16 pixels, total stride 8
    Mult-Adds: V1 3.4, 29.2, 1.9, 2.0 million; V2 2.8, 2.8, 2.8, 1.0 million. mnist5k: not run yet.
    fashion_mnist, one core of an AMD EPYC, 1.4 hours (experiments/ablation_fashion_mnist), after 4 epochs:
    Top-1: V1 0.878, 0.900, 0.877, 0.887; V2 0.874, 0.859, 0.852, 0.864 (standard deviation over seeds 0.002). All but
    V1 and narrow are told apart from the network itself. On maps of 2 x 2 pixels shallow wins, unlike in the paper.
cifar10: 18 pixels, total stride 8
    Device: not run yet. Top-1: not measured.
    Mult-Adds: V1 7.5, 64.8, 4.2, 4.4 million; V2 6.2, 6.2, 6.2, 2.3 million.
imagenet (the papers' setting; mnet_jax/config/presets.py names its sources)
    Device: not run here. Mult-Adds: V1 569, 4867, 325, 307 million; V2 301, 301, 301, 64 million.
    Top-1: published for V1 0.706, 0.717, 0.684, 0.653; V2's Figure 6 gives curves, no numbers.
imagenet_modern (torchvision's "new recipe", 600 epochs; the same file names its sources)
    Device: not run here. Mult-Adds: as imagenet. Top-1: published for V2 itself 0.722.
"""

import itertools

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.model.alpha = 1.0
    if not dataset.startswith("imagenet"):
        config.model.alpha = 0.5
        config.input_size = min(presets.input_sizes(config))
        config.tune.optim.learning_rate = (0.0125, 0.025, 0.05, 0.1)
        config.tune_epochs = config.train.epochs / 4
    return config


def sweep(config):
    seeds = ({},) if config.preset.startswith("imagenet") else ({"seed": 0}, {"seed": 1}, {"seed": 2})
    narrow = {"model.alpha": 0.75 * config.model.alpha}
    v1 = {}, {"model.separable": False}, narrow, {"model.shallow": True}
    v2 = {}, {"model.residual": False}, {"model.linear_bottleneck": False}, {"model.expansion": 1}
    for name, networks in ("mobilenet_v1", v1), ("mobilenet_v2", v2):
        for options, seed in itertools.product(networks, seeds):
            yield {"model.name": name} | options | seed
