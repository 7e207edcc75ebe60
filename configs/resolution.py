"""Resolution: accuracy falls smoothly with the input size at alpha 1 (V1 paper, Table 7).

    python -m mnet_jax.sweep --config configs/resolution.py[:mnist5k | :fashion_mnist | :cifar10 | :imagenet]
    python -m mnet_jax.sweep --config configs/resolution.py:imagenet_modern

The input sizes have the paper's ratios 224:192:160:128, and small images get a total stride of 4, so that the last maps
are the paper's (7, 6, 5 and 4 pixels wide) and the Mult-Adds too fall as 49:36:25:16.

mnist5k (the default), fashion_mnist: input sizes 28, 24, 20, 16
    Device: not run yet. Top-1: not measured. Mult-Adds: 156, 115, 80, 51 million.
cifar10: input sizes 32, 27, 23, 18
    Device: not run yet. Top-1: not measured. Mult-Adds: 204, 157, 115, 80 million.
imagenet (the papers' setting; mnet_jax/config/presets.py names its sources): input sizes 224, 192, 160, 128
    Device: not run here. Mult-Adds: 569, 418, 291, 186 million.
    Top-1: published 0.709, 0.700, 0.680, 0.652.
imagenet_modern (torchvision's "new recipe", 600 epochs; the same file names its sources): input sizes as imagenet
    Device: not run here. Mult-Adds: as imagenet. Top-1: published for V2 0.722, for V3 large 0.753, at 224.

`--config.model.name=mobilenet_v2` sweeps V2 (ImageNet: 301, 221, 154, 99 million Mult-Adds; published top-1 0.718,
0.707, 0.688, 0.653).
"""

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.model.total_stride = presets.full_stride(config)
    config.sweep.input_size = presets.input_sizes(config)
    return config
