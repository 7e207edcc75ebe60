"""The images of a trial's data set, as an exported network takes them."""

from collections.abc import Iterator

import jax
import numpy as np

from mnet_jax.data import cache
from mnet_jax.data.augment import standardize
from mnet_jax.data.stream import open_stream
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.train.trained import Trained

BATCH = 64


def of_test_split(trained: Trained) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(images, labels): uint8 (batch, image_size, image_size, channels), and int32; each image once.

    Raises:
      UserError: the data are missing.
    """
    config = trained.config
    cache.check(config.data, ("test_split",))
    mesh = make_mesh()
    for batch in open_stream(config, config.data.test_split, mesh).evaluation_batches(
        -(-BATCH // mesh.size) * mesh.size
    ):
        is_there = np.asarray(batch["mask"]) > 0
        yield np.asarray(batch["image"])[is_there], np.asarray(batch["label"])[is_there]


def for_calibration(trained: Trained, number: int, seed: int) -> np.ndarray:
    """Training images as an evaluation sees them, uint8, drawn without replacement; all where there are fewer."""
    config = trained.config
    cache.check(config.data, ("train_split",))
    source = cache.open_split(config.data, config.data.train_split)
    chosen = np.random.default_rng(seed).choice(len(source), min(number, len(source)), replace=False)
    return trained.preprocess([source[int(i)]["image"] for i in np.sort(chosen)])


def standardized(trained: Trained, pixels: np.ndarray) -> np.ndarray:
    """What `evaluate` feeds the network: float32 (batch, input_size, input_size, channels)."""
    config = trained.config
    return np.asarray(jax.jit(lambda images: standardize(images, config.data, config.input_size))(pixels))
