"""Everything that a recipe can ask for, in one trial."""

import numpy as np
import pytest

from mnet_jax import evaluate
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.models import registry
from mnet_jax.train import loop
from tests import short_network
from tests.trials import StopAfter, final_state, folder_of, scores

EVERYTHING = {
    "data__flip": True,
    "data__augment": "randaugment",
    "data__random_erasing": 0.5,
    "train__label_smoothing": 0.1,
    "train__mixup_alpha": 0.2,
    "train__cutmix_alpha": 1.0,
    "train__ema_decay": 0.9,
    "train__precise_bn_images": 150,
    "model__drop_path": 0.2,
}


@pytest.fixture
def short(tiny, monkeypatch):
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))
    tiny.model.update(name=short_network.NAME, alpha=1.0, total_stride=None)
    return tiny


def test_with_everything_on_resuming_equals_never_having_stopped_and_all_of_it_counts(tmp_path, short):
    whole, stopped = (folder_of(tmp_path / name, short, **EVERYTHING) for name in ("whole", "stopped"))
    loop.train([whole], Interruption())
    assert whole.status() == "done", whole.error()
    with pytest.raises(Interrupted):
        loop.train([stopped], StopAfter(11))
    loop.train([stopped], Interruption())
    assert scores(stopped) == scores(whole)
    expected, ours = final_state(whole), final_state(stopped)
    for key, value in expected.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)
    again = evaluate.of_trial(whole)
    assert {key: again[key] for key in ("top1", "top5")} == {key: whole.result()[key] for key in ("top1", "top5")}
    losses = [row["loss"] for row in whole.metrics() if "learning_rate" in row]
    assert losses[-1] < losses[0], "also with all of it, three epochs must teach it something"
