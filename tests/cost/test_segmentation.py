import math
import pathlib

import flax.linen as nn
import pytest

from mnet_jax.config.passes import sides_at
from mnet_jax.cost import segmentation
from mnet_jax.cost.layers import count
from mnet_jax.models.deeplab import Upsampling
from tests.cost.resnet101 import DeepLabResNet101

PAGE = pathlib.Path(__file__).parents[2] / "experiments" / "published_costs" / "segmentation.md"


def slowly(row):
    """Six passes of hundreds of layers are traced; one row of them is among the fast tests."""
    marks = [pytest.mark.slow] if row["flipped"] and row["aspp"] else []
    return pytest.param(row, id=row["row"], marks=marks)


@pytest.mark.parametrize("row", [slowly(row) for row in segmentation.rows()])
def test_every_published_row_to_the_unit(row):
    counted = segmentation.exact(row, None if "model" in row else DeepLabResNet101)
    assert {name: row[name] for name in counted} == counted


def test_padded_maps_explain_all_printed_figures_but_one():
    """To within 0.4%, rounding included; what is left was not found."""
    ratios = {
        row["row"]: float(row["printed_mult_adds"]) * 1e9 / row["padded_mult_adds"] for row in segmentation.rows()
    }
    apart = [row for row, ratio in ratios.items() if not math.isclose(ratio, 1, rel_tol=4e-3)]
    assert apart == ["V1, output stride 8, ASPP, MS"]
    assert all("**no**" not in segmentation._cells(row) or row["note"] for row in segmentation.rows())


def test_scaled_images_keep_their_corners():
    assert sides_at(513, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)) == [257, 385, 513, 641, 769, 897]


@pytest.mark.parametrize(("rate", "side"), [(1, 33), (2, 34), (6, 36), (12, 36), (24, 48)])
def test_a_map_is_padded_to_a_multiple_of_the_rate(rate, side):
    cost = count(nn.Conv(5, (3, 3), kernel_dilation=rate), (33, 33, 2))
    assert [layer.dilation for layer in cost.layers] == [rate]
    assert cost.mult_adds == 33 * 33 * 9 * 2 * 5
    assert segmentation.padded_mult_adds(cost) == side * side * 9 * 2 * 5


def test_interpolation_is_no_arithmetic():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x_BxHxWxC):
            return Upsampling(17, 17)(nn.Conv(4, (1, 1))(x_BxHxWxC))

    cost = count(Net(), (5, 5, 3))
    assert cost.mult_adds == 5 * 5 * 3 * 4


def test_the_page_is_what_the_command_writes():
    hint = "run `python -m mnet_jax.cost.segmentation > experiments/published_costs/segmentation.md`"
    assert PAGE.read_text() == segmentation.as_markdown(), hint
