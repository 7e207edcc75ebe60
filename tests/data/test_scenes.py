"""Scenes of digits: what is in them, and that a mask says it."""

import copy
import hashlib
import os

import numpy as np
import pytest

from mnet_jax import presets
from mnet_jax.config.fields import OF_MASKS
from mnet_jax.config.resolve import resolve
from mnet_jax.data import builders, checks, decode, masks, scenes, sources, stream
from mnet_jax.data.facts import facts
from mnet_jax.data.masks import VOID
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.errors import UserError

CLOTHES = "/usr/share/datasets/fashion-mnist"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A resolved config, its data prepared, and the digits that each call of `compose` was given."""
    config, given, compose = presets.get("scenes"), [], scenes.compose
    config.data.data_dir = str(tmp_path_factory.mktemp("scenes"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scenes, "compose", lambda images, *rest: given.append(images) or compose(images, *rest))
        sources.prepare(config.data)
    return resolve(config), given


@pytest.fixture
def config(prepared):
    return copy.deepcopy(prepared[0]).unlock()


def blocks(size=8):
    """Two images that are white all over, of classes 3 and 5."""
    return np.full((2, size, size), 255, np.uint8), np.array([3, 5])


def test_each_split_is_composed_of_its_own_digits(config):
    checks.check(config.data)
    sizes = {name: info.num_examples for name, info in sources.prepare(config.data).info.splits.items()}
    assert sizes == {"train": 2000, "validation": 500, "test": 2000}
    found = facts(config.data)
    assert (found.num_classes, found.image_size, found.channels, found.has_masks) == (11, 96, 1, True)
    assert found.class_names == ("background", *"0123456789")
    labels = np.zeros(256, int)
    for i in range(0, 500, 10):
        example = sources.open_split(config.data, "test")[i]
        scene, mask = decode.whole(example["image"], 1), masks.decoded(example["label"])
        assert scene.shape == (96, 96, 1)
        assert mask.shape == (96, 96)
        labels += np.bincount(mask.ravel(), minlength=256)
    assert set(np.flatnonzero(labels)) == {*range(11), VOID}
    assert 0.55 < labels[0] / labels.sum() < 0.8


def test_scenes_are_those_of_the_seed_on_every_machine():
    rng = np.random.RandomState(0)
    images, labels = rng.randint(0, 256, (20, 28, 28)).astype(np.uint8), rng.randint(0, 10, 20)
    found, masks_of = scenes.compose(images, labels, 4, seed=0, covers=96, margin=0)
    assert not np.array_equal(found, scenes.compose(images, labels, 4, seed=1, covers=96, margin=0)[0])
    assert (found.dtype, masks_of.dtype) == (np.uint8, np.uint8)
    digest = hashlib.sha256(found.tobytes() + masks_of.tobytes()).hexdigest()[:16]
    assert digest == "bf6bd2ec479ce0ed", (
        "copies of scenes that people have are others now: give the builders another VERSION"
    )


def test_a_mask_has_the_class_of_what_covers_the_pixel_and_a_rim_of_void():
    images, labels = blocks()
    found, masks_of = scenes.compose(images, labels, 200, seed=0, covers=96, margin=0)
    assert set(np.unique(masks_of)) == {0, 4, 6, VOID}
    is_object = (masks_of > 0) & (masks_of < VOID)
    assert found[is_object].mean() > np.quantile(found[masks_of == 0], 0.95), "what has a class is to be seen"
    for axis in (1, 2):
        one, other = masks_of.swapaxes(1, axis)[:, 1:], masks_of.swapaxes(1, axis)[:, :-1]
        differ = (one != other) & (one != VOID) & (other != VOID)
        assert not (differ & ((one == 0) | (other == 0))).any(), "between an object and the ground there is void"
        assert not (differ & (one > 0) & (other > 0)).any(), "and between two objects"
    counts = is_object.sum((1, 2))
    assert (counts > 0).all()
    assert counts.max() > 2 * 8 * 8, "several, or larger ones"


def test_a_margin_is_cut_out_with_an_object_and_hides_what_is_behind_it():
    """A dot of one pixel at 1.5 to 2.5 times its size: with a margin of 3, black and about seven times as wide."""
    dot, label = np.zeros((1, 9, 9), np.uint8), np.array([3])
    dot[0, 4, 4] = 255
    found, areas = {}, {}
    for margin in (0, 3):
        found[margin], masks_of = scenes.compose(dot, label, 200, seed=0, covers=96, margin=margin)
        areas[margin] = np.sum(masks_of == 4)
        assert set(np.unique(masks_of)) == {0, 4, VOID}
        if margin:
            assert np.median(found[margin][masks_of == 4]) < np.median(found[margin][masks_of == 0]) / 3
    assert 25 < areas[3] / areas[0] < 60


def test_objects_lie_where_they_hide_little(monkeypatch):
    images, labels = blocks(20)
    covered = {}
    for places in (1, scenes._PLACES):
        monkeypatch.setattr(scenes, "_PLACES", places)
        _, masks_of = scenes.compose(images, labels, 200, seed=0, covers=96, margin=0)
        covered[places] = np.mean(masks_of > 0)
    assert covered[8] > 1.1 * covered[1]


def test_no_two_splits_share_a_digit(prepared):
    _, given = prepared
    assert [len(digits) for digits in given] == [3500, 500, 1000]
    assert len({digit.tobytes() for digits in given for digit in digits}) == 5000


@pytest.mark.parametrize("kind", [stream.ResidentStream, stream.HostStream])
def test_a_batch_holds_images_and_their_masks(config, kind):
    config.data.test_split = "test[:10]"
    source = sources.open_split(config.data, "test[:10]")
    opened = kind(source, copy.deepcopy(config.data), 11, make_mesh())
    first, last = opened.evaluation_batches(8)
    assert {name: (array.shape, array.dtype) for name, array in first.items()} == {
        "image": ((8, 96, 96, 1), np.uint8),
        "label": ((8, 96, 96), np.uint8),
        "mask": ((8,), np.float32),
    }
    np.testing.assert_array_equal(first["label"][3], masks.decoded(source[3]["label"]))
    np.testing.assert_array_equal(first["image"][3], decode.whole(source[3]["image"], 1))
    np.testing.assert_array_equal(last["mask"], [1, 1, 0, 0, 0, 0, 0, 0])
    assert (np.asarray(last["label"][2:]) == VOID).all()
    batch = next(iter(opened.training_batches(8, 0, 1)))
    pairs = {
        decode.whole(one["image"], 1).tobytes(): masks.decoded(one["label"]).tobytes()
        for one in map(source.__getitem__, range(10))
    }
    for image, label in zip(np.asarray(batch["image"]), np.asarray(batch["label"]), strict=True):
        assert pairs[image.tobytes()] == label.tobytes()


def test_labels_beyond_the_network_are_refused(config):
    source = sources.open_split(config.data, "test[:10]")
    with pytest.raises(UserError, match=r"data set scenes: \d+ pixels with labels that are no class, such as \d"):
        stream.ResidentStream(source, config.data, 2, make_mesh())


def test_scenes_are_not_cropped_on_the_host(config):
    config.data.crop = "inception"
    with pytest.raises(UserError, match=r"data set scenes has masks, .* set --config\.data\.crop=none"):
        facts(config.data)


@pytest.mark.skipif(not os.path.isdir(CLOTHES), reason="without Debian's package dataset-fashion-mnist")
def test_scenes_of_clothes_are_composed_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(builders.FashionScenes, "_SIZES", {"train": 20, "validation": 5, "test": 10})
    config = presets.get("fashion_scenes")
    config.data.data_dir = str(tmp_path)
    data = resolve(config).data
    found = facts(data)
    assert (found.num_classes, found.class_names[:2], found.has_masks) == (11, ("background", "T-shirt/top"), True)
    sizes = {name: info.num_examples for name, info in sources.prepare(data).info.splits.items()}
    assert sizes == {"train": 20, "validation": 5, "test": 10}


@pytest.mark.parametrize("name", [name for name in presets.PRESETS if "folder" not in name and name != "voc"])
def test_a_name_says_whether_a_data_set_has_masks(name):
    data = presets.get(name).data
    assert facts(data).has_masks is (name in OF_MASKS) is masks.are_those_of(data)
