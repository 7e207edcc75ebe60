import jax
import numpy as np
import optax
import pytest

from mnet_jax.config import dotted
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.train import loop, optim
from mnet_jax.train.replicates import Replicates
from tests.trials import StopAfter, final_state, folder_of, scores

VARIANTS = (
    {"seed": 0},
    {"seed": 1},
    {"optim__learning_rate": 0.2},
    {"optim__weight_decay": 0.01},
    {"train__label_smoothing": 0.1},
)


@pytest.fixture
def built(monkeypatch):
    """How many trials each vmapped step had."""
    counts = []
    init = Replicates.__init__
    monkeypatch.setattr(Replicates, "__init__", lambda self, units: (counts.append(len(units)), init(self, units))[1])
    return counts


def folders_of(path, config, vmapped, variants=VARIANTS):
    config.train.vmap_replicates = vmapped
    return [folder_of(path / str(i), config, **variant) for i, variant in enumerate(variants)]


@pytest.fixture
def well_conditioned(monkeypatch):
    """In float32, rounding grows through the layers of batch normalisation, and hides what is wrong."""
    from_json = dotted.from_json

    def in_float64(text):
        config = from_json(text).unlock()
        config.model.dtype = "float64"
        return config.lock()

    def adamw(config, schedule):
        """By default AdamW divides by as little as 1e-8; where gradients vanish, rounding then decides the update."""
        return optax.adamw(schedule, eps=1e-4, weight_decay=config.weight_decay, mask=optim.weight_decay_mask)

    monkeypatch.setattr("mnet_jax.train.loop.from_json", in_float64)
    monkeypatch.setitem(optim.OPTIMIZERS, "adamw", adamw)
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adamw"])
def test_one_vmapped_step_is_the_step_of_each(tmp_path, tiny, built, optimizer, well_conditioned):
    tiny.train.epochs = 0.25
    tiny.optim.name = optimizer
    together = folders_of(tmp_path / "together", tiny, vmapped=True)
    alone = folders_of(tmp_path / "alone", tiny, vmapped=False)
    loop.train(together, Interruption())
    assert built == [5]
    loop.train(alone, Interruption())
    assert built == [5]
    ends = []
    for ours, expected in zip(map(final_state, together), map(final_state, alone), strict=True):
        assert ours.keys() == expected.keys()
        for key, value in expected.items():
            distance = np.linalg.norm(ours[key] - value)
            assert distance <= 1e-5 * max(np.linalg.norm(value), 1e-3), f"{key} differs by {distance}"
        ends.append(np.concatenate([value.ravel() for key, value in expected.items() if "params" in key]))
    assert all(not np.allclose(end, ends[0]) for end in ends[1:]), "every variant must change the result"


def test_a_diverging_replicate_is_dropped_and_the_others_resume(tmp_path, tiny, built):
    tiny.optim.warmup_epochs = 0.0
    variants = ({"seed": 0}, {"optim__learning_rate": 1e30}, {"seed": 2})
    whole = folders_of(tmp_path / "whole", tiny, True, variants)
    loop.train(whole, Interruption())
    assert [folder.status() for folder in whole] == ["done", "diverged", "done"]
    assert scores(whole[0]) != scores(whole[2])
    stopped = folders_of(tmp_path / "stopped", tiny, True, variants)
    with pytest.raises(Interrupted):
        loop.train(stopped, StopAfter(10))
    loop.train(stopped, Interruption())
    assert built == [3, 3, 2], "the one that diverged is not trained again"
    for i in (0, 2):
        assert scores(stopped[i]) == pytest.approx(scores(whole[i]), rel=1e-2)
