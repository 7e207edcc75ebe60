"""Networks that are no MobileNet: what they have is used, what they lack is not asked for."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax.config.resolve import resolve
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.models import registry
from mnet_jax.train import loop
from mnet_jax.workdir.files import TrialFolder
from tests.trials import StopAfter, final_state, scores


class GroupNormNet(nn.Module):
    """No batch statistics, no dropout, no default for `train`, which it does not read; logits in bfloat16."""

    num_classes: int
    width: int = 8
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        del train
        x = nn.Conv(self.width, (3, 3), 2, dtype=self.dtype)(x)
        x = nn.relu(nn.GroupNorm(num_groups=4, dtype=self.dtype)(x))
        return nn.Dense(self.num_classes, dtype=self.dtype)(x.mean(axis=(1, 2))).astype(jnp.bfloat16)


class DropoutNet(nn.Module):
    """Nothing but a dense layer behind dropout."""

    num_classes: int
    rate: float = 0.5
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dropout(self.rate, deterministic=not train)(x.reshape(len(x), -1))
        return nn.Dense(self.num_classes, dtype=self.dtype)(x)


class Buffered(DropoutNet):
    """Keeps a variable that training does not know."""

    @nn.compact
    def __call__(self, x, train):
        self.variable("counters", "calls", jnp.zeros, ())
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1))


class Pair(DropoutNet):
    """Returns more than logits."""

    @nn.compact
    def __call__(self, x, train):
        logits = nn.Dense(self.num_classes)(x.reshape(len(x), -1))
        return logits, logits


class Narrow(DropoutNet):
    """Has one class less than it was asked for."""

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(self.num_classes - 1)(x.reshape(len(x), -1))


NETWORKS = {network.__name__: network for network in (GroupNormNet, DropoutNet, Buffered, Pair, Narrow)}


@pytest.fixture
def folder_of(tmp_path, tiny, monkeypatch):
    """Makes the folder of a trial of one of `NETWORKS`."""
    monkeypatch.setattr(registry, "MODELS", registry.MODELS | NETWORKS)

    def make(name, network, fields=None, seed=0, **training):
        config = resolve(tiny, {"seed": seed}).to_dict()
        config["train"] |= training
        config["model"] = {"name": network, "num_classes": 10, "dtype": "float32"} | (fields or {})
        folder = TrialFolder(tmp_path / name)
        folder.create(config)
        return folder

    return make


@pytest.mark.parametrize("network", ["GroupNormNet", "DropoutNet"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_network_without_batch_statistics_trains_and_resumes_bit_for_bit(folder_of, network, ema_decay):
    whole, stopped = (folder_of(name, network, ema_decay=ema_decay) for name in ("whole", "stopped"))
    loop.train([whole], Interruption())
    assert (whole.status(), whole.error()) == ("done", None)
    assert whole.result()["test_images"] == 100
    losses = [row["loss"] for row in whole.metrics() if "learning_rate" in row]
    assert losses[-1] < losses[0]
    with pytest.raises(Interrupted):
        loop.train([stopped], StopAfter(10))
    loop.train([stopped], Interruption())
    assert scores(stopped) == scores(whole)
    expected, ours = final_state(whole), final_state(stopped)
    assert expected.keys() == ours.keys()
    assert not any("batch_stats" in key for key in expected)
    assert any("ema" in key for key in expected) == bool(ema_decay)
    for key, value in expected.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)


def test_dropout_is_drawn_in_training_and_not_in_evaluation(folder_of):
    folders = [folder_of(str(rate), "DropoutNet", {"rate": rate}, epochs=0.25) for rate in (0.0, 0.9)]
    untrained = [folder_of(f"{rate} still", "DropoutNet", {"rate": rate}, epochs=0.0) for rate in (0.0, 0.9)]
    for folder in (*folders, *untrained):
        loop.train([folder], Interruption())
        assert (folder.status(), folder.error()) == ("done", None)
    training = [folder.metrics()[0]["loss"] for folder in folders]
    assert training[0] != training[1]
    assert scores(untrained[0]) == scores(untrained[1])


def test_own_networks_are_replicates_too(folder_of):
    fields = {"vmap_replicates": True, "epochs": 1.0}
    folders = [folder_of(str(seed), "GroupNormNet", seed=seed, **fields) for seed in range(2)]
    alone = folder_of("alone", "GroupNormNet", seed=1, **fields)
    loop.train(folders, Interruption())
    loop.train([alone], Interruption())
    assert [folder.status() for folder in folders] == ["done", "done"]
    expected, ours = final_state(alone), final_state(folders[1])
    for key, value in expected.items():
        if "params" in key:
            np.testing.assert_allclose(ours[key], value, rtol=1e-3, atol=1e-4, err_msg=key)
    assert not np.allclose(jax.tree.leaves(final_state(folders[0]))[0], jax.tree.leaves(ours)[0])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("Buffered", "network Buffered keeps variables in counters; training knows the collections params and"),
        ("Pair", "network Pair returns tuple; expected are logits (batch, num_classes), here (64, 10)"),
        ("Narrow", "network Narrow returns the shape (64, 9); expected are logits (batch, num_classes), here (64, 10)"),
    ],
)
def test_what_training_cannot_use_is_said_and_the_others_train(folder_of, network, message):
    broken, whole = folder_of("broken", network), folder_of("whole", "DropoutNet", epochs=3.0)
    loop.train([broken, whole], Interruption())
    assert broken.status() == "failed"
    assert broken.error().startswith(message)
    assert whole.status() == "done"
