import jax
import numpy as np
import pytest

from mnet_jax.data.operations import OPERATIONS, apply
from mnet_jax.data.policies import BINS, SPACES, auto_augment, draw

SIGNED = [name.startswith(("shear", "translate")) or name in ("rotate", "brightness", "color", "contrast", "sharpness")
          for name in OPERATIONS]  # fmt: skip


@pytest.fixture
def data(tiny):
    tiny.data.augment = "trivialaugment"
    return tiny.data


def test_the_wide_space_is_the_papers():
    """Of TrivialAugment's, as torchvision has it, too: 32 pixels, 0.99, 135 degrees and 2 bits at most."""
    strongest = dict(zip(OPERATIONS, SPACES["trivialaugment"](224)[:, -1], strict=True))
    assert strongest == {
        **dict.fromkeys(("identity", "autocontrast", "equalize", "solarize"), 0),
        **dict.fromkeys(("shear_x", "shear_y", "brightness", "color", "contrast", "sharpness"), 0.99),
        **dict.fromkeys(("translate_x", "translate_y"), 32),
        "rotate": 135,
        "posterize": 2,
    }


@pytest.mark.parametrize("name", SPACES)
def test_magnitudes_rise_evenly_from_no_effect(name):
    space = dict(zip(OPERATIONS, SPACES[name](331), strict=True))
    for operation, row in space.items():
        assert row.shape == (BINS,)
        assert row[0] == {"posterize": 8, "solarize": 255}.get(operation, 0)
        if operation != "posterize":
            np.testing.assert_allclose(np.diff(row), row[1] - row[0], atol=1e-9)
    assert set(space["posterize"]) == set(range(8 - {"trivialaugment": 6, "randaugment": 4}[name], 9))
    assert space["translate_x"][-1] == {"trivialaugment": 32, "randaugment": 150}[name]


def test_every_operation_magnitude_and_sign_is_drawn_equally_often():
    space = SPACES["trivialaugment"](28).astype(np.float32)
    operations, magnitudes = map(np.asarray, draw(jax.random.key(0), 140_000, space))
    counts = np.bincount(operations, minlength=14)
    assert np.abs(counts - 10_000).max() < 500, "5 standard deviations of a binomial are 480"
    for i, (name, is_signed) in enumerate(zip(OPERATIONS, SIGNED, strict=True)):
        drawn = magnitudes[operations == i]
        assert set(np.abs(drawn)) == set(space[i]), name
        shares = [(np.abs(drawn) == value).mean() * BINS / (space[i] == value).sum() for value in set(space[i])]
        assert max(np.abs(np.subtract(shares, 1))) < 0.3, name
        negative = (drawn < 0).sum() / (np.abs(drawn) > 0).sum() if np.abs(drawn).any() else 0
        assert negative == pytest.approx(0.5 if is_signed else 0, abs=0.03), name


def test_golden_draws():
    """A change of these changes trials that people have."""
    operations, magnitudes = draw(jax.random.key(0), 6, SPACES["trivialaugment"](28).astype(np.float32))
    assert [OPERATIONS[i] for i in operations] == GOLDEN_OPERATIONS
    np.testing.assert_allclose(magnitudes, GOLDEN_MAGNITUDES, rtol=1e-5)


GOLDEN_OPERATIONS = ["shear_x", "equalize", "sharpness", "solarize", "contrast", "translate_y"]
GOLDEN_MAGNITUDES = [0.396, 0.0, -0.792, 229.5, 0.99, 19.200001]


def test_randaugment_applies_operations_of_one_magnitude_in_turn(data):
    data.update(augment="randaugment", augment_ops=3, augment_magnitude=12)
    images = np.random.default_rng(0).integers(0, 256, (32, 12, 12, 3), np.uint8)
    key, space = jax.random.key(1), SPACES["randaugment"](12).astype(np.float32)
    expected = images
    for i in range(3):
        operations, magnitudes = draw(jax.random.fold_in(key, i), 32, space, 12)
        np.testing.assert_allclose(np.abs(magnitudes), space[operations, 12])
        expected = jax.jit(apply)(expected, operations, magnitudes)
    np.testing.assert_array_equal(jax.jit(lambda x: auto_augment(x, key, data))(images), expected)
    assert (np.asarray(expected) != images).any((1, 2, 3)).mean() > 0.8


def test_what_an_image_draws_depends_on_its_place_and_not_on_the_batch():
    space = SPACES["trivialaugment"](28).astype(np.float32)
    few, many = draw(jax.random.key(2), 4, space), draw(jax.random.key(2), 64, space)
    for ours, theirs in zip(few, many, strict=True):
        np.testing.assert_array_equal(ours, theirs[:4])
