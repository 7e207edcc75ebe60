"""A network is told what it runs on; that is no option of its config."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from mnet_jax.config.resolve import resolve
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.train import compiled


class Told(nn.Module):
    num_classes: int
    platform: str = "none"

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(self.num_classes)(x.mean((1, 2)))


@pytest.fixture
def told(tiny, monkeypatch):
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))
    registry.register("told", Told)
    tiny.model.update(name="told", alpha=None, total_stride=None)
    return tiny


def test_steps_are_built_for_the_devices_of_the_mesh(told):
    with compiled.compilers() as threads:
        steps = compiled.CompiledSteps(resolve(told), 256, Mesh(np.array(jax.devices()[:1]), ("data",)), threads)
    assert steps.model.platform == "cpu"


def test_a_config_cannot_set_it(told):
    with pytest.raises(UserError, match="platform"):
        resolve(told, {"model.platform": "gpu"})
