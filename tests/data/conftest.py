"""Data of one's own, as the tests make it."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from mnet_jax.data import registry


@pytest.fixture
def own(tmp_path):
    """`config.data` for data of one's own, prepared in the test's folder."""

    def make(name, **fields):
        known = {
            "name": name,
            "seed": 0,
            "image_size": 16,
            "channels": 3,
            "mean": (0.5,),
            "crop": "inception",
            "eval_crop": "shorter_side",
            "eval_crop_fraction": 1.0,
            "eval_filter": "bilinear",
            "train_split": "train",
            "validation_split": "validation",
            "test_split": "test",
            "validation_fraction": 0.1,
            "test_fraction": 0.1,
            "split_seed": 0,
            "data_dir": str(tmp_path / "prepared"),
            "source_dir": None,
            "classes": None,
            "class_names": None,
            "exif_orientation": None,
            "tfds_name": None,
            "cache_side": None,
            "cache_quality": 90,
            "max_bad_images": 0,
            "read_threads": 4,
            "fingerprint": None,
        }
        return ConfigDict(known | fields)

    return make


@pytest.fixture
def fill():
    """Fills a folder with JPEGs named 0.jpg, 1.jpg, ...; `shape` is (height, width, 3) or (height, width)."""

    def write(folder, count, shape=(20, 24, 3), seed=0):
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng((seed, *map(ord, folder.name)))
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / f"{i}.jpg", quality=95)
        return folder

    return write


@pytest.fixture(autouse=True)
def nothing_else_registered(monkeypatch):
    monkeypatch.setattr(registry, "_functions", {})
    monkeypatch.setattr(registry, "_builders", {})
