"""Transfer: a folder of one's own pictures, fine-tuned from ImageNet weights at each alpha (V1 paper, section 4.3).

    python -m mnet_jax.sweep --config configs/transfer.py --config.data.source_dir=DIR

wants `DIR/train/<class>/*` (docs/data.md says what else a folder may be) and Keras's weights of MobileNet V1
in `weights/` or in `--config.options.weights_dir=DIR2`: mobilenet_A_224_tf.h5 for A in 1_0, 7_5, 5_0, 2_5, from
https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/. `--config.options.alphas="(0.5,0.25)"` trains
fewer. The last layer starts fresh, the others from the file; pixels, padding and epsilon are those of the weights.

image_folder
    Device: not run here (no weights, no network); tested on pictures and weights that the tests make.
    Mult-Adds: 568, 325, 149, 41 million (224 pixels, 10 classes). Top-1: not measured.
"""

import pathlib

from ml_collections import ConfigDict
from published_v1 import ALPHA_IN_NAME, SITE

from mnet_jax import presets
from mnet_jax.errors import UserError


def get_config(dataset: str = "image_folder"):
    config = presets.get(dataset)
    config.optim.learning_rate = 0.01
    config.model.bn_momentum = 0.99
    config.options = ConfigDict({"weights_dir": "weights", "alphas": presets.ALPHAS})
    return config


def sweep(config):
    folder = pathlib.Path(config.options.weights_dir)
    if unknown := set(config.options.alphas) - set(ALPHA_IN_NAME):
        raise UserError(
            f"config.options.alphas: there are no weights for {sorted(unknown)}, only {list(ALPHA_IN_NAME)}"
        )
    paths = {alpha: folder / f"mobilenet_{ALPHA_IN_NAME[alpha]}_224_tf.h5" for alpha in config.options.alphas}
    if missing := [path.name for path in paths.values() if not path.is_file()]:
        raise UserError(f"{folder} lacks {', '.join(missing)}; they are at {SITE}")
    for alpha, path in paths.items():
        yield {"model.alpha": alpha, "train.init_from": str(path)}
