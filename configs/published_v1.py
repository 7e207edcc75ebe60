"""The published trade-off: Keras's 16 checkpoints of MobileNet V1 on ImageNet, evaluated, not trained (V1, Figure 4).

    python -m mnet_jax.sweep --config configs/published_v1.py --config.data.source_dir=/data/imagenet

wants `/data/imagenet/val/<class>/*` (the 50,000 validation images of ILSVRC 2012), and 16 files in `weights/` or in
`--config.options.weights_dir=DIR`: mobilenet_A_S_tf.h5 for A in 1_0, 7_5, 5_0, 2_5 and S in 224, 192, 160, 128, from
https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/. The checkpoints are TF-slim's, ported.

imagenet
    Device: not run here (no ImageNet, no network). Mult-Adds: 569 to 13.6 million.
    Top-1: published 0.709 (alpha 1 at 224) to 0.415 (alpha 0.25 at 128); the plots show the published curves beside.
"""

import itertools
import pathlib

from ml_collections import ConfigDict

from mnet_jax import presets
from mnet_jax.errors import UserError

SITE = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/"
ALPHA_IN_NAME = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}


def get_config(dataset: str = "imagenet"):
    config = presets.get(dataset)
    config.data.name = "imagenet_validation"
    config.model.dtype = "float32"
    config.options = ConfigDict({"weights_dir": "weights"})
    return config


def sweep(config):
    folder = pathlib.Path(config.options.weights_dir)
    grid = list(itertools.product(presets.ALPHAS, presets.input_sizes(config)))
    paths = {(alpha, size): folder / f"mobilenet_{ALPHA_IN_NAME[alpha]}_{size}_tf.h5" for alpha, size in grid}
    if missing := [path.name for path in paths.values() if not path.is_file()]:
        raise UserError(
            f"{folder} lacks {len(missing)} of {len(paths)} files: {', '.join(missing)}; they are at {SITE}"
        )
    for (alpha, size), path in paths.items():
        yield {
            "model.alpha": alpha,
            "input_size": size,
            "data.image_size": size,
            "train.init_from": str(path),
            "train.epochs": 0.0,
        }
