"""The grid: accuracy against Mult-Adds for four alphas x four input sizes, 16 trials (V1 paper, Figure 4).

    python -m mnet_jax.sweep --config configs/grid.py[:mnist5k | :fashion_mnist | :cifar10 | :imagenet]
    python -m mnet_jax.sweep --config configs/grid.py:imagenet_modern

The input sizes have the paper's ratios 224:192:160:128, and small images get a total stride of 4, so that the last maps
are the paper's: 7, 6, 5 and 4 pixels wide.

mnist5k (the default), fashion_mnist: input sizes 28, 24, 20, 16
    Device: not run yet at this stride. Top-1: not measured. Mult-Adds: 156 to 3.3 million.
    fashion_mnist at a total stride of 8, rates tuned, three seeds (experiments/fashion_mnist_grid):
    Device: 2 CPU cores, 3.7 hours (shared with tests). Mult-Adds: 52.3 to 0.9 million. Top-1: 0.908 to 0.865.
cifar10: input sizes 32, 27, 23, 18
    Device: not run yet. Top-1: not measured. Mult-Adds: 204 to 5.2 million.
imagenet (the papers' setting; mnet_jax/config/presets.py names its sources): input sizes 224, 192, 160, 128
    Device: not run here. Mult-Adds: 569 to 13.6 million.
    Top-1: published 0.709 (alpha 1 at 224) to 0.415 (alpha 0.25 at 128); the plots show the published curves beside.
imagenet_modern (torchvision's "new recipe", 600 epochs; the same file names its sources): input sizes as imagenet
    Device: not run here. Mult-Adds: as imagenet. Top-1: published for V2 0.722, for V3 large 0.753, at alpha 1 and 224.

`--config.model.name=mobilenet_v2` sweeps V2.
"""

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.model.total_stride = presets.full_stride(config)
    config.sweep.model.alpha = presets.ALPHAS
    config.sweep.input_size = presets.input_sizes(config)
    return config
