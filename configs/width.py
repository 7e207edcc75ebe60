"""Width: accuracy falls smoothly with alpha at one input size (V1 paper, Table 6: the full one).

    python -m mnet_jax.sweep --config configs/width.py[:mnist5k | :fashion_mnist | :cifar10 | :imagenet | :image_folder]
    python -m mnet_jax.sweep --config configs/width.py:imagenet_modern

mnist5k (the default): 16 pixels, three seeds
    Device: 2 CPU cores, 4.3 minutes. Mult-Adds: 13.2, 7.5, 3.4, 0.9 million.
    Top-1: 0.954, 0.951, 0.947, 0.919, each +- 0.005 (standard error over seeds); 0.5 and 0.25 are told apart.
    One rate serves all: of 0.0125, 0.025 and 0.1, tried per alpha (config.tune, one seed, 500 validation images), none
    was better than 0.05 by more than 2.3 paired standard errors in 12 comparisons (with layers that rounded otherwise
    than today's). 16 pixels, so that three seeds fit into minutes.
fashion_mnist (its networks are the 28 pixels of experiments/fashion_mnist_grid, three seeds at tuned rates)
    Device: 2 CPU cores, 3.7 hours for that grid (shared with tests). Mult-Adds: 52.3, 29.6, 13.3, 3.4 million.
    Top-1: 0.908, 0.906, 0.902, 0.891, each +- 0.002 (standard error over seeds).
cifar10
    Device: not run yet. Top-1: not measured. Mult-Adds: 53.0, 30.0, 13.5, 3.5 million.
imagenet (the papers' setting; mnet_jax/config/presets.py names its sources)
    Device: not run here. Mult-Adds: 569, 325, 149, 41 million.
    Top-1: published 0.709, 0.684, 0.633, 0.498.
imagenet_modern (torchvision's "new recipe", 600 epochs; the same file names its sources)
    Device: not run here. Mult-Adds: as imagenet. Top-1: published for V2 0.722, for V3 large 0.753, at alpha 1.
image_folder (pictures of your own: docs/data.md)
    Device: not run. Top-1: not measured. Mult-Adds: as imagenet, but for the last layer.

`--config.model.name=mobilenet_v2` sweeps V2 (at 224: 301, 209, 97 million Mult-Adds at alpha 1, 0.75, 0.5; published
top-1 0.718, 0.698, 0.654; 0.25 is not published).
"""

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.sweep.model.alpha = presets.ALPHAS
    if dataset == "mnist5k":
        config.input_size = 16
        config.sweep.seed = (0, 1, 2)
    return config
