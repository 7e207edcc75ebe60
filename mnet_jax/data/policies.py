"""Which operations an image goes through: TrivialAugment Wide and RandAugment, as torchvision defines them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mnet_jax.data.operations import OPERATIONS, apply

BINS = 31  # magnitudes of an operation

_SIGNED = OPERATIONS[1:10]  # whose magnitude is negative for half of the images


def auto_augment(images: jax.Array, key: jax.Array, data) -> jax.Array:
    """Images after the operations that each draws by itself.

    "trivialaugment" (Müller and Hutter, 2021, arXiv:2103.10158, "Wide"): one operation of the 14, of one of its 31
    magnitudes. "randaugment" (Cubuk et al., 2019, arXiv:1909.13719): `augment_ops` operations in turn, with
    replacement, all of magnitude `augment_magnitude`.

    Args:
      images: (batch, side, side, channels), uint8.
      key: a random key; what an image draws depends on it and on the image's place in the batch.
      data: `config.data`: `augment`, `augment_ops`, `augment_magnitude`.

    Returns:
      The shape and dtype of `images`.
    """
    space = jnp.asarray(SPACES[data.augment](images.shape[1]), jnp.float32)
    if data.augment == "trivialaugment":
        return apply(images, *draw(key, len(images), space))

    def one_more(i: jax.Array, images: jax.Array) -> jax.Array:
        return apply(images, *draw(jax.random.fold_in(key, i), len(images), space, data.augment_magnitude))

    return lax.fori_loop(0, data.augment_ops, one_more, images)


def draw(key: jax.Array, count: int, space: jax.Array, magnitude: int | None = None) -> tuple[jax.Array, jax.Array]:
    """An operation and its magnitude for each of `count` images, as `operations.apply` takes them.

    Args:
      key: a random key.
      count: of the images.
      space: (operations, magnitudes).
      magnitude: a column of `space` for all images; None for one that each draws.
    """
    operation_key, magnitude_key, sign_key = jax.random.split(key, 3)
    operations = jax.random.randint(operation_key, (count,), 0, len(OPERATIONS))
    columns = jax.random.randint(magnitude_key, (count,), 0, BINS) if magnitude is None else magnitude
    is_signed = jnp.asarray([name in _SIGNED for name in OPERATIONS])[operations]
    is_negative = is_signed & jax.random.bernoulli(sign_key, shape=(count,))
    return operations, jnp.where(is_negative, -1.0, 1.0) * space[operations, columns]


def _wide(_: int) -> np.ndarray:
    return _space(shear=0.99, translation=32.0, angle=135.0, blend=0.99, bits=6)


def _randaugment(side: int) -> np.ndarray:
    return _space(shear=0.3, translation=150 / 331 * side, angle=30.0, blend=0.9, bits=4)


def _space(shear: float, translation: float, angle: float, blend: float, bits: int) -> np.ndarray:
    """(operations, magnitudes), from the weakest to the strongest; see `operations.apply` for the units.

    Args:
      shear, translation, angle, blend: the strongest.
      bits: that the strongest posterize takes away.
    """
    share = np.linspace(0, 1, BINS)
    strongest = {"rotate": angle} | dict.fromkeys(("brightness", "color", "contrast", "sharpness"), blend)
    for axis in "xy":
        strongest |= {f"shear_{axis}": shear, f"translate_{axis}": translation}
    rows = {name: value * share for name, value in strongest.items()}
    rows |= {"posterize": 8 - np.round(bits * share), "solarize": 255 * (1 - share)}
    return np.stack([rows.get(name, 0 * share) for name in OPERATIONS])


SPACES = {"trivialaugment": _wide, "randaugment": _randaugment}
