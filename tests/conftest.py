"""Strictness for every test, and a tiny data set that takes seconds to train on."""

import os
import pathlib
import subprocess
import sys

import hypothesis
import jax
import numpy as np
import pytest
from PIL import Image

from mnet_jax import presets
from mnet_jax.config.resolve import resolve
from mnet_jax.devices import process
from mnet_jax.models import registry
from tests import smooth_network

REPOSITORY = pathlib.Path(__file__).parent.parent

jax.config.update("jax_numpy_rank_promotion", "raise")
process.set_xla_flags()  # before any test looks for devices
hypothesis.settings.register_profile("tests", deadline=None)  # a busy machine is no mistake
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Most tests train the same tiny network: they compile it once, like the trials of a sweep."""
    folder = str(_of_all_workers(tmp_path_factory) / "jax_cache")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the session's prepared data sets are."""
    return str(tmp_path_factory.mktemp("tfds"))


def _of_all_workers(tmp_path_factory):
    """The session's folder of temporary files, which under pytest-xdist is the parent of a worker's."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def make_tiny(data_dir):
    """An unlocked config of MobileNet V1 0.25 on 256 digits of 16 x 16 pixels: 12 steps."""
    config = presets.get("mnist5k")
    config.input_size = 16
    config.model.update(alpha=0.25, total_stride=4)
    config.data.update(
        data_dir=data_dir, train_split="train[:256]", validation_split="validation[:72]", test_split="test[:100]"
    )
    config.train.update(batch_size=64, epochs=3.0, log_every_steps=2)
    return config


@pytest.fixture
def tiny(data_dir):
    return make_tiny(data_dir)


@pytest.fixture
def small(tiny, monkeypatch):
    """The same with a network that compiles in a second."""
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))  # which a resolved config adds it to
    tiny.model.update(name=smooth_network.NAME, alpha=None, total_stride=None)
    return tiny


@pytest.fixture
def resolved(tiny):
    return resolve(tiny)


@pytest.fixture
def tiny_imagenet(tmp_path):
    """The papers' setting, on 3 classes of 16 JPEGs of all shapes, at 16 pixels."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for wnid in ("n01440764", "n01443537", "n02102040"):
            folder = tmp_path / "raw" / split / wnid
            folder.mkdir(parents=True)
            for i in range(16):
                pixels = rng.integers(0, 256, (30 + i, 60 - 2 * i, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{wnid}_{i}.JPEG", "JPEG")
    config = presets.get("imagenet")
    config.input_size = 16
    config.model.update(alpha=0.25, num_classes=3, total_stride=4)
    config.data.update(data_dir=str(tmp_path / "tfds"), source_dir=str(tmp_path / "raw"), image_size=24)
    config.train.update(batch_size=16, epochs=2.0, log_every_steps=2)
    return config


@pytest.fixture
def command(compilation_cache):
    """Runs `python -m MODULE ...` as a user does, and returns the completed process."""

    def run(module, *arguments, env_extra=None, timeout=300):
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=REPOSITORY,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": compilation_cache} | (env_extra or {}),
        )

    return run
