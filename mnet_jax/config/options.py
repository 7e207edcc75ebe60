"""What the options of the networks here do and may be; those of one's own are checked by their type alone."""

from mnet_jax.config.field import FRACTION, NOT_NEGATIVE, POSITIVE, Choices, Range
from mnet_jax.config.fields import OUTPUT_STRIDE, STRIDE
from mnet_jax.models import registry
from mnet_jax.models.layers import ACTIVATIONS, LAYERS, MEMORY, PADDINGS

_OPTIONS: dict[str, tuple[Range | Choices | None, str]] = {
    "alpha": (POSITIVE, "Width multiplier."),
    "total_stride": (STRIDE, "Input side over side of the last map."),
    "output_stride": (
        OUTPUT_STRIDE,
        "Input side over side of the last map; later strides become dilation (DeepLab).",
    ),
    "aspp": (None, "True: three atrous convolutions in DeepLab's head (Chen et al., 2017)."),
    "padding": (Choices(PADDINGS), "Of strided convolutions."),
    "dropout": (FRACTION, "Rate before the last layer."),
    "drop_path": (FRACTION, "Rate of the last block's stochastic depth, which rises from 0 at the first."),
    "bn_momentum": (FRACTION, "Decay of the running statistics of batch normalisation."),
    "bn_epsilon": (POSITIVE, "Added to the variance in batch normalisation."),
    "bn_group": (NOT_NEGATIVE, "Images that are normalised together (ghost batches); 0 for all of a batch."),
    "layers": (Choices(LAYERS), "Our operations, or those of Flax."),
    "memory": (Choices(MEMORY), "On a GPU: a training step of the fewest bytes moved, or of the least memory."),
    "dtype": (Choices(("float32", "bfloat16")), "Of the computation; parameters are float32."),
    "activation": (Choices(tuple(ACTIVATIONS)), "After each convolution."),
    "separable": (None, "False: full convolutions (V1 paper, Table 4)."),
    "shallow": (None, "True: without the five blocks of 14x14x512 (V1 paper, Table 5)."),
    "last_features": (NOT_NEGATIVE, "Of one more 1x1 convolution before the pooling; 0 for none (timm)."),
    "residual": (None, "False: without shortcuts (V2 paper, Figure 6b)."),
    "linear_bottleneck": (None, "False: an activation after each bottleneck (V2 paper, Figure 6a)."),
    "expansion": (POSITIVE, "Of the channels inside each inverted residual; by default the table's."),
    "depth_multiplier": (POSITIVE, "Of the number of blocks per stage (timm)."),
    "scale_ends": (None, "False: first and last convolution as at alpha 1 (timm)."),
}


def rule(model_name: str, option: str) -> Range | Choices | None:
    """What an option's values may be; None where its type alone decides."""
    return _OPTIONS[option][0] if model_name in registry.BUILT_IN else None


def explain(option: str) -> str:
    """A line about an option of the networks here."""
    return _OPTIONS[option][1]


def built_in() -> dict[str, type]:
    """The options of all networks here, and their types."""
    found = {}
    for name in registry.BUILT_IN:
        found |= {option: known.kind for option, known in registry.options(registry.MODELS[name]).items()}
    return found
