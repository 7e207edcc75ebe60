import shutil

import jax
import numpy as np
import optax
import pytest

from mnet_jax.config import dotted
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.train import loop, optim
from mnet_jax.train.replicates import Replicates
from tests.trials import StopAfter, assert_close, final_state, folder_of, scores

COMPARED = ("step", "epoch", "loss", "grad_norm", "top1", "top5")  # columns of metrics.jsonl

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


def losses(folder):
    return [row["loss"] for row in folder.metrics() if "learning_rate" in row]


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


RECIPES = [("sgd", "cosine"), ("rmsprop", "exponential"), ("adamw", "constant")]


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(("optimizer", "schedule"), RECIPES)
def test_a_vmapped_step_after_the_warmup_is_the_step_of_each(
    tmp_path, tiny, built, optimizer, schedule, well_conditioned
):
    """One step, from the states that vmapped steps led to: rounding grows by orders of magnitude from step to step."""
    tiny.train.update(epochs=1.0, log_every_steps=1)
    tiny.optim.update(name=optimizer, schedule=schedule, warmup_epochs=0.25, decay_rate=0.5, decay_every_epochs=0.25)
    together = folders_of(tmp_path / "together", tiny, vmapped=True)
    with pytest.raises(Interrupted):
        loop.train(together, StopAfter(2 * len(VARIANTS) + 2 + 3))  # opens and begins each, compiles, 3 steps
    assert [folder.saved_step() for folder in together] == [3] * len(VARIANTS)
    shutil.copytree(tmp_path / "together", tmp_path / "alone")
    alone = folders_of(tmp_path / "alone", tiny, vmapped=False)
    loop.train(together, Interruption())
    assert built == [5, 5]
    loop.train(alone, Interruption())
    assert built == [5, 5]
    ends = []
    for ours, theirs in zip(together, alone, strict=True):
        expected = final_state(theirs)
        assert_close(final_state(ours), expected, 1e-5)
        assert scores(ours) == pytest.approx(scores(theirs), rel=1e-5)
        assert losses(ours) == pytest.approx(losses(theirs), rel=1e-6)
        assert len(losses(ours)) == 4
        ends.append(np.concatenate([value.ravel() for key, value in expected.items() if "params" in key]))
    assert all(not np.allclose(end, ends[0]) for end in ends[1:]), "every variant must change the result"


@pytest.mark.parametrize(("optimizer", "schedule"), RECIPES)
def test_whole_trials_are_those_trained_alone_to_rounding(tmp_path, small, built, optimizer, schedule):
    """In float32 from the first step to the result; the network is one through which rounding does not grow."""
    small.train.log_every_steps = 1
    small.optim.update(name=optimizer, schedule=schedule, learning_rate=0.02, decay_rate=0.5)
    others = {"optim__learning_rate": 0.03, "optim__weight_decay": 0.01, "train__label_smoothing": 0.1}
    variants = ({"seed": 0}, {"seed": 1}, {"seed": 2} | others)
    together = folders_of(tmp_path / "together", small, True, variants)
    alone = folders_of(tmp_path / "alone", small, False, variants)
    loop.train(together, Interruption())
    loop.train(alone, Interruption())
    assert built == [3]
    for ours, theirs in zip(together, alone, strict=True):
        assert (ours.status(), ours.result()["steps"], ours.result()["test_images"]) == ("done", 12, 100)
        assert scores(ours) == pytest.approx(scores(theirs), rel=1e-5)
        assert_close(final_state(ours), final_state(theirs), 1e-5)
        rows = [
            [{key: row[key] for key in COMPARED if key in row} for row in folder.metrics()] for folder in (ours, theirs)
        ]
        assert len(rows[0]) == 12 + 3
        for row, expected in zip(*rows, strict=True):
            assert row == pytest.approx(expected, rel=1e-4)
    ends = [losses(folder)[-1] for folder in together]
    assert len(set(ends)) == 3
    assert all(folder.result()["loss"] < losses(folder)[0] for folder in together), "they must have learned something"


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
