"""Every field of a config, declared once: name, type, default, range or choices, unit, effect, and a line of help.

Presets, resolution, checks, `--print_config`, `docs/fields.md`, the identity of a trial and the columns of the table
are derived from `FIELDS`. The options of a network are the fields of its class; see `options`.

A default never changes: a field that stands at its default is no part of a trial's identity.
"""

from collections.abc import Callable
from typing import Any

from mnet_jax.config.field import FRACTION, NOT_NEGATIVE, POSITIVE, Choices, Field, Flat, Range, never
from mnet_jax.config.launch import LAUNCH
from mnet_jax.config.tasks import TASKS


def _trains(flat: Flat) -> bool:
    return flat["train.epochs"] > 0


def _with(key: str, *values: Any) -> Callable[[Flat], bool]:
    return lambda flat: _trains(flat) and flat[key] in values


def honours_exif(flat: Flat) -> bool:
    """What `data.exif_orientation` means where it is unset."""
    return flat["data.name"] in FOLDERS and flat["data.tfds_name"] is None


def has_masks(flat: Flat) -> bool:
    """Whether the data set is one of masks: a class for each pixel, not for each image."""
    return flat["data.name"] in OF_MASKS and flat["data.tfds_name"] is None


def _scales(flat: Flat) -> bool:
    return _trains(flat) and has_masks(flat)


def _may_state_orientation(flat: Flat) -> bool:
    """False for images that are encoded here, from arrays."""
    name = str(flat["data.name"])
    return flat["data.tfds_name"] is not None or name in _OF_FILES or ":" in name


def _cuts_large_images(flat: Flat) -> bool:
    return flat["data.crop"] == "inception"


_PROBABILITY = Range(lambda v: 0 <= v <= 1, "must be in [0, 1]")
_MAGNITUDE = Range(lambda v: 0 <= v <= 30, "must be in [0, 30]")
_SHARE = Range(lambda v: 0 < v <= 1, "must be in (0, 1]")
_SEED = Range(lambda v: 0 <= v < 2**31, "must be in [0, 2**31)")
_QUALITY = Range(lambda v: 1 <= v <= 100, "must be in [1, 100]")
_CLASSES = Range(lambda v: v >= 2, "must be 2 or more")
_COLORS = Range(lambda v: v in (1, 3), "must be 1 or 3")
STRIDE = Range(lambda v: v in (1, 2, 4, 8, 16, 32), "must be one of 1, 2, 4, 8, 16, 32")

OUTPUT_STRIDE = Range(lambda v: v in (8, 16, 32), "must be one of 8, 16, 32")

OF_MASKS = ("scenes", "fashion_scenes", "voc", "mask_folder")

FOLDERS = ("image_folder", "mask_folder", "voc")  # of one's own
_OF_FILES = (*FOLDERS, "imagenet", "imagenet_validation")  # data sets of images as they came

_SGD_OR_RMSPROP = _with("optim.name", "sgd", "rmsprop")
_RMSPROP = _with("optim.name", "rmsprop")
_EXPONENTIAL = _with("optim.schedule", "exponential")
_POLYNOMIAL = _with("optim.schedule", "polynomial")
_RANDAUGMENT = _with("data.augment", "randaugment")

FIELDS = (
    Field("preset", str, None, "Preset of the data set that the config starts from.", has_effect=never, is_found=True),
    Field("folder", str, None, "Of the config file; relative paths start there.", has_effect=never, is_found=True),
    Field("chosen", tuple, (), "Fields that the command line set.", has_effect=never, is_found=True),
    Field(
        "tuning",
        bool,
        False,
        "A trial run of config.tune: the test split is not read.",
        has_effect=never,
        is_found=True,
    ),
    Field("task", str, TASKS[0], "What the network is trained for.", Choices(TASKS)),
    Field("seed", int, 0, "Of initialisation, augmentation on the device and dropout.", _SEED),
    Field(
        "input_size", int, None, "Side of the square image fed to the network; follows the data.", POSITIVE, "pixels"
    ),
    Field("model.name", str, "mobilenet_v1", "Network: a known name, package.module:Class or FILE.py:Class."),
    Field("model.num_classes", int, None, "Size of the output; follows the data.", _CLASSES),
    Field(
        "model.bn_devices",
        str,
        "global",
        "Batch statistics of the images of all devices together, or of each device's own.",
        Choices(("global", "local")),
        has_effect=_trains,
    ),
    Field("model.path", str, None, "File of a network of one's own.", has_effect=never, is_found=True),
    Field("model.spec", str, None, "Its class, from the root of its imports.", has_effect=never, is_found=True),
    Field("model.fingerprint", str, None, "Of what it is made of.", has_effect=never, is_found=True),
    Field("model.source", str, None, "Where that is kept in the workdir.", has_effect=never, is_found=True),
    Field("data.name", str, None, "Data set: a known name, package.module:Class or FILE.py:Class."),
    Field("data.seed", int, 0, "Of the order of the images and of the crops on the host.", _SEED, has_effect=_trains),
    Field("data.image_size", int, None, "Side of the images of the stream; follows the data.", POSITIVE, "pixels"),
    Field("data.channels", int, None, "1 reads images as gray, 3 as RGB; follows the data.", _COLORS),
    Field(
        "data.crop",
        str,
        "shift",
        "Of training images: none, a shift, or an Inception crop on the host.",
        Choices(("none", "shift", "inception")),
    ),
    Field("data.crop_padding", int, 2, "Largest shift.", NOT_NEGATIVE, "pixels", _with("data.crop", "shift")),
    Field("data.flip", bool, False, "Flip training images at random, left to right.", has_effect=_trains),
    Field(
        "data.min_scale",
        float,
        0.5,
        "Smallest scale of training images that have masks, before a part of input_size is cut out.",
        POSITIVE,
        has_effect=_scales,
    ),
    Field("data.max_scale", float, 2.0, "Largest of these scales.", POSITIVE, has_effect=_scales),
    Field(
        "data.eval_scales",
        tuple,
        (1.0,),
        "Scales at which test images that have masks are seen; probabilities are averaged over all passes.",
        has_effect=has_masks,
    ),
    Field("data.eval_flip", bool, False, "And each of them flipped, left to right.", has_effect=has_masks),
    Field(
        "data.augment",
        str,
        "none",
        "Policy of operations on training images, after the flip; trivialaugment is the wide one.",
        Choices(("none", "trivialaugment", "randaugment")),
        has_effect=_trains,
    ),
    Field("data.augment_ops", int, 2, "Operations on each image (RandAugment's N).", POSITIVE, "", _RANDAUGMENT),
    Field("data.augment_magnitude", int, 9, "Of each operation (RandAugment's M).", _MAGNITUDE, "", _RANDAUGMENT),
    Field(
        "data.random_erasing",
        float,
        0.0,
        "Probability that a rectangle of a training image is erased.",
        _PROBABILITY,
        has_effect=_trains,
    ),
    Field("data.mean", tuple, (0.5,), "Subtracted from pixels in [0, 1]; one, or one per channel.", follows=True),
    Field("data.std", tuple, (0.5,), "Divides them after that; one, or one per channel.", follows=True),
    Field(
        "data.eval_crop",
        str,
        "central",
        "Of test images that are large.",
        Choices(("central", "shorter_side")),
        has_effect=_cuts_large_images,
        follows=True,
    ),
    Field(
        "data.eval_crop_fraction",
        float,
        0.875,
        "Share of the side that this crop keeps.",
        _SHARE,
        has_effect=_cuts_large_images,
        follows=True,
    ),
    Field(
        "data.eval_filter",
        str,
        "bilinear",
        "Filter that resizes this crop.",
        Choices(("bilinear", "bicubic", "tf_bilinear")),
        has_effect=_cuts_large_images,
        follows=True,
    ),
    Field("data.train_split", str, "train", "Images trained on, in TFDS's notation.", has_effect=_trains),
    Field(
        "data.validation_split",
        str,
        "validation",
        "Images evaluated along the way; empty for none.",
        has_effect=_trains,
    ),
    Field("data.test_split", str, "test", "Images of the result."),
    Field(
        "data.validation_fraction",
        float,
        0.1,
        "Share of a folder's training images, where it has no val/.",
        FRACTION,
        has_effect=_with("data.name", *FOLDERS),
    ),
    Field(
        "data.test_fraction",
        float,
        0.1,
        "Share of a folder's training images, where it has no test/.",
        FRACTION,
        has_effect=lambda flat: flat["data.name"] in ("image_folder", "mask_folder"),
    ),
    Field(
        "data.split_seed",
        int,
        0,
        "Of what is split off so.",
        _SEED,
        has_effect=lambda flat: flat["data.name"] in FOLDERS,
    ),
    Field("data.data_dir", str, None, "Folder of prepared data sets; by default TFDS's.", has_effect=never),
    Field("data.source_dir", str, None, "Folder of the raw files.", has_effect=never),
    Field(
        "data.classes",
        str,
        None,
        "Text file of the classes' names, by label, one a line; by default those of the class folders, sorted.",
        has_effect=never,
    ),
    Field(
        "data.exif_orientation",
        bool,
        None,
        "Turn images as EXIF states; by default those of a folder of one's own, and no others.",
        has_effect=_may_state_orientation,
    ),
    Field("data.tfds_name", str, None, "A data set that TFDS prepares itself."),
    Field("data.cache_side", int, None, "Shrink large images once, to this shorter side.", POSITIVE, "pixels"),
    Field(
        "data.cache_quality",
        int,
        90,
        "Of the shrunk JPEGs.",
        _QUALITY,
        has_effect=lambda flat: bool(flat["data.cache_side"]),
    ),
    Field(
        "data.max_bad_images",
        int,
        10,
        "Damaged images that are left out before it is an error.",
        NOT_NEGATIVE,
        has_effect=never,
    ),
    Field("data.read_threads", int, 16, "Most threads that read and decode.", POSITIVE, has_effect=never),
    Field(
        "data.fingerprint", str, None, "Of the content of data of one's own, and of an order of classes.", is_found=True
    ),
    Field("data.class_names", tuple, None, "Names of the classes, by label.", has_effect=never, is_found=True),
    Field("optim.name", str, "sgd", "Optimizer.", Choices(("sgd", "rmsprop", "adamw")), has_effect=_trains),
    Field("optim.learning_rate", float, 0.1, "Highest learning rate.", POSITIVE, has_effect=_trains),
    Field(
        "optim.schedule",
        str,
        "cosine",
        "Of the learning rate, after the warm-up.",
        Choices(("cosine", "exponential", "polynomial", "constant")),
        has_effect=_trains,
    ),
    Field("optim.warmup_epochs", float, 1.0, "Linear rise from 0.", NOT_NEGATIVE, "epochs", _trains),
    Field("optim.decay_rate", float, 0.98, "Factor of the exponential schedule.", POSITIVE, has_effect=_EXPONENTIAL),
    Field("optim.decay_every_epochs", float, 1.0, "Interval of that factor.", POSITIVE, "epochs", _EXPONENTIAL),
    Field("optim.power", float, 0.9, "Of the polynomial schedule.", POSITIVE, has_effect=_POLYNOMIAL),
    Field("optim.momentum", float, 0.9, "Of SGD and RMSProp.", FRACTION, has_effect=_SGD_OR_RMSPROP),
    Field("optim.rmsprop_decay", float, 0.9, "Of RMSProp's mean square.", FRACTION, has_effect=_RMSPROP),
    Field("optim.rmsprop_epsilon", float, 1.0, "Inside RMSProp's root.", POSITIVE, has_effect=_RMSPROP),
    Field("optim.weight_decay", float, 1e-4, "Of kernels that are not depthwise.", NOT_NEGATIVE, has_effect=_trains),
    Field(
        "optim.grad_clip_norm",
        float,
        0.0,
        "Largest norm of the gradient; 0 for any.",
        NOT_NEGATIVE,
        has_effect=_trains,
    ),
    Field(
        "optim.head_multiplier",
        float,
        1.0,
        "Learning rate of the head over that of the layers below it.",
        POSITIVE,
        has_effect=_trains,
    ),
    Field("train.batch_size", int, 64, "Images per step, on all devices together.", POSITIVE, "images"),
    Field("train.epochs", float, 8.0, "Length of the training; 0 evaluates imported weights.", NOT_NEGATIVE, "epochs"),
    Field("train.init_from", str, None, "Weight file of Keras, torchvision or timm to start from.", has_effect=never),
    Field("train.init_fingerprint", str, None, "Of the content of that file.", is_found=True),
    Field(
        "train.label_smoothing",
        float,
        0.0,
        "Share of each label that is spread over all classes.",
        FRACTION,
        has_effect=_trains,
    ),
    Field(
        "train.ema_decay",
        float,
        0.0,
        "Of moving averages of the weights, which are then evaluated; 0 for none.",
        FRACTION,
        has_effect=_trains,
    ),
    Field(
        "train.mixup_alpha",
        float,
        0.0,
        "Of the Beta distribution by which images and labels are mixed; 0 for none.",
        NOT_NEGATIVE,
        has_effect=_trains,
    ),
    Field(
        "train.cutmix_alpha",
        float,
        0.0,
        "Of that by which a box is replaced; beside mixup, each batch takes one of the two.",
        NOT_NEGATIVE,
        has_effect=_trains,
    ),
    Field(
        "train.precise_bn_images",
        int,
        0,
        "Training images, in whole batches, over which batch statistics are estimated anew to evaluate; 0 for none.",
        NOT_NEGATIVE,
        "images",
        _trains,
    ),
    Field(
        "train.frozen_bn",
        bool,
        False,
        "Normalise in training by the statistics of train.init_from, which stay as they are.",
        has_effect=_trains,
    ),
    Field(
        "train.vmap_replicates",
        bool,
        False,
        "Train trials that differ in seed, rate, decay or smoothing as one step.",
        has_effect=_trains,
    ),
    Field("train.log_every_steps", int, 10, "Between rows of metrics.jsonl.", POSITIVE, "steps", never),
    Field(
        "train.eval_every_epochs",
        float,
        1.0,
        "Between evaluations of the validation split.",
        POSITIVE,
        "epochs",
        never,
    ),
    Field("train.checkpoint_every_epochs", float, 1.0, "Between checkpoints.", POSITIVE, "epochs", never),
    *LAUNCH,
)

BY_KEY = {field.key: field for field in FIELDS}


def effective(flat: Flat) -> dict[str, Any]:
    """The fields of a resolved config, by dotted key, that can change its result; a network's options all can."""
    return {key: value for key, value in flat.items() if key not in BY_KEY or BY_KEY[key].has_effect(flat)}
