"""Values that cannot work, each by itself or beside the others."""

import shlex

from tests.refusals.case import Case, config

_FILE = {"config.py": config()}

_WITHOUT_STATISTICS = """import flax.linen as nn


class Plain(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(self.num_classes)(x.mean((1, 2)))
"""


_SEGMENTATION = ("task=segmentation", "model.name=deeplab_mobilenet_v2", "data.name=scenes", "data.image_size=96")


def _set(what: str, *fields: str, files=None, reads: bool = False) -> Case:
    flags = shlex.join(f"--config.{field}" for field in fields)
    return Case(what, f"sweep --config config.py {flags}", files or _FILE, reads)


CASES = (
    _set("an unknown network", "model.name=mobilnet_v2"),
    _set("an option of another network", "model.expansion=6"),
    _set("a network of another task", "model.name=deeplab_mobilenet_v2"),
    _set("data of another task", "data.name=scenes"),
    _set("a shift of images without their masks", *_SEGMENTATION),
    _set("an output stride that is none", *_SEGMENTATION, "model.output_stride=12"),
    _set("a negative alpha", "model.alpha=-0.5"),
    _set("alpha of nothing", "model.alpha=nan"),
    _set("alpha of thousands", "model.alpha=3000"),
    _set("an axis with an absurd alpha", "sweep.model.alpha=(1.0,3000.0)"),
    _set("an input of a million pixels", "input_size=1000000"),
    _set("a batch larger than the training split", "train.batch_size=5000", reads=True),
    _set(
        "one value per channel under batch normalisation", "train.batch_size=1", "input_size=8", "model.total_stride=8"
    ),
    _set("a total stride that is no power of 2", "model.total_stride=3"),
    _set("another number of classes", "model.num_classes=11"),
    _set("one class", "model.num_classes=1"),
    _set("another image size", "data.image_size=32"),
    _set("two channels", "data.channels=2"),
    _set("words in the mean", "data.mean=('a',)"),
    _set("three means of one channel", "data.mean=(0.5,0.5,0.5)"),
    _set("std of 0", "data.std=(0.0,)"),
    _set("std of nan", "data.std=(float('nan'),)"),
    _set("negative std", "data.std=(-0.5,)"),
    _set("a shift as large as the image", "data.crop_padding=28"),
    _set("an unknown crop", "data.crop=inceptoin"),
    _set("an unknown filter", "data.eval_filter=bicubc"),
    _set("an unknown policy", "data.augment=trivalaugment"),
    _set("a cache without large images", "data.cache_side=32"),
    _set("a quality above 100", "data.cache_quality=200"),
    _set("an unknown split", "data.train_split=trian", reads=True),
    _set("a split beyond its end", "data.train_split=train[100000:]", reads=True),
    _set("a slice that is none", "data.train_split=train[:", reads=True),
    _set("an empty test split", "data.test_split=", reads=True),
    _set("a cut of percents above 100", "data.train_split=train[:200%]", reads=True),
    _set("an unknown data set", "data.name=mnist6k"),
    _set("an unknown optimizer", "optim.name=sgdd"),
    _set("a learning rate of 0", "optim.learning_rate=0"),
    _set("a momentum of 1", "optim.momentum=1"),
    _set("a negative weight decay", "optim.weight_decay=-1e-4"),
    _set("an unknown schedule", "optim.schedule=cosin"),
    _set("a negative warm-up", "optim.warmup_epochs=-1"),
    _set("epochs of infinity", "train.epochs=inf"),
    _set("no epochs and no weights", "train.epochs=0"),
    _set("a billion epochs", "train.epochs=1e15", reads=True),
    _set("statistics of less than a batch", "train.precise_bn_images=16"),
    _set("frozen statistics without weights", "train.frozen_bn=True"),
    _set("scales of an evaluation without 1", "data.eval_scales=(0.5,)"),
    _set(
        "a rate of a head that is not there",
        "model.name=nets.py:Plain",
        "optim.head_multiplier=10",
        files=_FILE | {"nets.py": _WITHOUT_STATISTICS},
        reads=True,
    ),
    _set(
        "statistics of a network that has none",
        "model.name=nets.py:Plain",
        "train.precise_bn_images=64",
        files=_FILE | {"nets.py": _WITHOUT_STATISTICS},
        reads=True,
    ),
    _set(
        "local statistics of a network that has none",
        "model.name=nets.py:Plain",
        "model.bn_devices=local",
        files=_FILE | {"nets.py": _WITHOUT_STATISTICS},
        reads=True,
    ),
    _set("statistics of neither", "model.bn_devices=locl"),
    _set("groups that do not divide the batch", "model.bn_group=12"),
    _set("groups for flax's batch normalisation", "model.bn_group=8", "model.layers=textbook"),
    _set("a seed of 33 bits", "seed=4294967296"),
    _set("a seed in words", "sweep.seed=('one',)"),
    _set("an unknown precision", "model.dtype=float61"),
    _set("an unknown padding", "model.padding=SMAE"),
    _set("an unknown activation", "model.activation=relu7"),
    _set("a network of one's own that is not there", "model.name=nets.py:Small"),
    _set(
        "a class that the file does not have",
        "model.name=nets.py:Smal",
        files=_FILE | {"nets.py": "class Small: pass\n"},
    ),
    _set("a class that is no module", "model.name=nets.py:Small", files=_FILE | {"nets.py": "class Small: pass\n"}),
    _set("a package that is not installed", "model.name=no_such_package:Net"),
    _set("a data set of one's own that is not there", "data.name=sets.py:Mine"),
    _set("weights that are not there", "train.init_from=weights.h5", "data.channels=3"),
)
