"""Sums over a split, and which images are right in its order."""

import jax
import numpy as np
import pytest

from mnet_jax.devices.mesh import make_mesh, replicated_on, sharded_on
from mnet_jax.errors import UserError
from mnet_jax.train.evaluation import Tally
from mnet_jax.train.tasks.classification import Classification

CLASSIFICATION = Classification(None)  # what it sums up depends on no config


def of_mask(variables, batch):
    """An eval step that has every image with a mask wrong."""
    nothing = {"top1": 0.0, "top5": 0.0, "loss": 0.0}
    return nothing | {"count": batch["mask"].sum(), "correct": np.where(batch["mask"] > 0, 0, -1)}


def test_a_split_of_which_no_image_can_be_read_has_no_accuracy():
    tally = Tally(CLASSIFICATION, of_mask, {})
    tally.add({"mask": np.zeros(2)})
    with pytest.raises(UserError, match="no image of the split can be read"):
        tally.scores()
    tally.add({"mask": np.ones(2)})
    scores = tally.scores()
    assert scores.pop("correct").tolist() == [False, False], "an image without a mask has no place"
    assert scores == {"top1": 0.0, "top5": 0.0, "loss": 0.0, "count": 2}


def test_bits_come_back_from_all_devices_in_the_order_of_the_split():
    """Whatever a batch's images lie on; the last one is padded, and an image in the middle is damaged."""
    mesh = make_mesh()
    right = np.random.default_rng(0).integers(0, 2, 3 * mesh.size * 4).astype(np.int8)
    counted = np.ones(len(right), bool)
    counted[[5, *range(len(right) - 3, len(right))]] = False

    def eval_step(_, batch):
        correct = jax.numpy.where(batch["mask"] > 0, batch["right"], -1).astype(jax.numpy.int8)
        return {"top1": (correct > 0).sum(), "count": batch["mask"].sum(), "correct": correct}

    on_all = jax.jit(eval_step, in_shardings=(None, sharded_on(mesh)), out_shardings=replicated_on(mesh))
    tally = Tally(CLASSIFICATION, on_all, {})
    for part in np.split(np.arange(len(right)), 3):
        batch = {"right": right[part], "mask": counted[part].astype(np.float32)}
        tally.add(jax.device_put(batch, sharded_on(mesh)))
    scores = tally.scores()
    assert scores["correct"].tolist() == (right[counted] > 0).tolist()
    assert scores["count"] == len(scores["correct"]) == counted.sum()
    assert scores["top1"] == pytest.approx(scores["correct"].mean())
