"""The costs of segmentation that the V2 paper prints (Table 7), beside the exact ones of our networks.

    python -m mnet_jax.cost.segmentation > experiments/published_costs/segmentation.md

The printed figures and the exact ones are rows of `segmentation.json`; tests count the networks anew, ResNet-101 by a
module of theirs.
"""

import importlib.resources
import json
import math
import sys
from typing import Any

import flax.linen as nn

from mnet_jax.config.passes import sides_at
from mnet_jax.cost.layers import Cost, Layer, count
from mnet_jax.cost.published import follows
from mnet_jax.models.deeplab import DeepLabMobileNetV1, DeepLabMobileNetV2

FILE = importlib.resources.files("mnet_jax.cost").joinpath("segmentation.json")

INPUT_SIZE, NUM_CLASSES = 513, 21  # PASCAL VOC 2012

NETWORKS = {"deeplab_mobilenet_v1": DeepLabMobileNetV1, "deeplab_mobilenet_v2": DeepLabMobileNetV2}

_HEADER = """# Published costs of segmentation, beside ours

Written by `python -m mnet_jax.cost.segmentation` from `mnet_jax/cost/segmentation.json`; tests count the networks anew.
DeepLabv3 on PASCAL VOC 2012 (21 classes, 513 x 513 pixels), Table 7 of the V2 paper; Mult-Adds in billions, parameters
in millions, as printed; ours exactly. "yes": the printed figure is ours, rounded or cut off.

Ours count every tap of a kernel at every pixel of a map: 33 x 33 at output stride 16, 65 x 65 at 8. TensorFlow computed
an atrous convolution of rate r as convolutions of r x r smaller images (space to batch), for which it padded the map to
a multiple of r: 33 becomes 36 at the rates 6, 12 and 18. "padded" is our network counted like that, then comes the
printed figure over it: all but one agree to within 0.4%, so that is how they seem to have been counted. What is left
was not found. "MS": the image at 0.5, 0.75, 1, 1.25, 1.5 and 1.75 of its size, which is 257, 385, 513, 641, 769 and 897
pixels, each as it is and flipped: twelve passes, all counted. Pooling and interpolation are not counted.
"""

_COLUMNS = ("row", "Mult-Adds", "ours", "", "padded", "printed / padded", "params", "ours", "", "mIoU", "remark")

Row = dict[str, Any]


def rows() -> list[Row]:
    """The rows of `segmentation.json`."""
    return json.loads(FILE.read_text())


def build(row: Row, cls: type[nn.Module] | None = None) -> nn.Module:
    """The network of a row; of class `cls`, by default that of the row's "model"."""
    fields = {name: row[name] for name in ("output_stride", "aspp")}
    return (cls or NETWORKS[row["model"]])(num_classes=NUM_CLASSES, layers="textbook", **fields)


def exact(row: Row, cls: type[nn.Module] | None = None) -> dict[str, int]:
    """Our figures for one image of a row.

    Returns:
      "mult_adds", "padded_mult_adds" (of atrous convolutions on padded maps) and "params", the trainable ones.
    """
    network = build(row, cls)
    passes = [count(network, (side, side, 3)) for side in sides_at(INPUT_SIZE, row["scales"])]
    times = 2 if row["flipped"] else 1
    return {
        "mult_adds": times * sum(cost.mult_adds for cost in passes),
        "padded_mult_adds": times * sum(map(padded_mult_adds, passes)),
        "params": passes[0].params,
    }


def padded_mult_adds(cost: Cost) -> int:
    """Of one pass, where a map that a dilated kernel filters is padded to a multiple of the dilation."""
    return sum(layer.mult_adds * _padded(layer) // math.prod(layer.output_shape[:-1]) for layer in cost.layers)


def _padded(layer: Layer) -> int:
    return math.prod(-(-side // layer.dilation) * layer.dilation for side in layer.output_shape[:-1])


def as_markdown() -> str:
    """The page."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows()]
    return "\n".join((_HEADER, *lines, ""))


def _cells(row: Row) -> tuple[str, ...]:
    billions, millions = row["printed_mult_adds"], row["printed_params"]
    return (
        row["row"],
        billions,
        f"{row['mult_adds']:,}",
        "yes" if follows(billions, row["mult_adds"] / 1e3) else "**no**",
        f"{row['padded_mult_adds']:,}",
        f"{float(billions) * 1e9 / row['padded_mult_adds']:.4f}",
        millions,
        f"{row['params']:,}",
        "yes" if follows(millions, row["params"]) else "**no**",
        f"{100 * row['miou']:.2f}%",
        row.get("note", ""),
    )


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
