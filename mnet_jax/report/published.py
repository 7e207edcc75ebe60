"""The papers' cells as rows of a table: accuracies as published, costs counted exactly."""

import functools
import importlib.resources
import json
from collections.abc import Collection

from mnet_jax.report.cells import label_of
from mnet_jax.workdir.files import DONE
from mnet_jax.workdir.results import COLUMNS, Row, Rows

_FILE = importlib.resources.files("mnet_jax.cost").joinpath("published.json")
_SOURCE = "TF-slim README"  # the tables that have accuracies of whole grids
_TEST_IMAGES = 50_000  # ImageNet's validation split
_COLUMNS = ("model", "alpha", "input_size", "mult_adds", "params", "top1", "top5")

GRIDS = ("mobilenet_v1", "mobilenet_v2")  # the networks of which a grid of alphas and input sizes was published


def cells(models: Collection[str]) -> list[Row]:
    """The published cells of some networks; what is not known of their training is None."""
    return [
        dict.fromkeys(COLUMNS) | {column: cell[column] for column in _COLUMNS} | {"test_images": _TEST_IMAGES}
        for cell in _all_cells()
        if cell.get("model") in models and cell["table"].startswith(_SOURCE)
    ]


def table(model: str) -> Rows:
    """The published grid of one of `GRIDS`, with trials to name."""
    told = {"status": DONE, "dataset": "ImageNet, published", "num_classes": 1000}
    return Rows(row | told | {"trial": label_of(row["alpha"], row["input_size"])} for row in cells((model,)))


@functools.cache
def _all_cells() -> list[Row]:
    return json.loads(_FILE.read_text())
