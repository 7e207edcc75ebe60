"""Sums over a split."""

import pytest

from mnet_jax.errors import UserError
from mnet_jax.train.evaluation import Tally


def test_a_split_of_which_no_image_can_be_read_has_no_accuracy():
    tally = Tally(lambda variables, batch: {"top1": 0.0, "top5": 0.0, "loss": 0.0, "count": batch["mask"]}, {})
    tally.add({"mask": 0.0})
    with pytest.raises(UserError, match="no image of the split can be read"):
        tally.scores()
    tally.add({"mask": 2.0})
    assert tally.scores() == {"top1": 0.0, "top5": 0.0, "loss": 0.0, "count": 2}
