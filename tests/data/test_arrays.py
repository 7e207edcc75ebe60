"""Arrays of one's own: registered, prepared, and opened where nothing is registered."""

import functools
import json
import subprocess
import sys

import numpy as np
import pytest

from mnet_jax.data import arrays, checks, registry, sources
from mnet_jax.data.facts import Facts, facts, look_again
from mnet_jax.errors import UserError
from tests.conftest import REPOSITORY
from tests.data.small_sets import digits, held


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_registered_arrays_keep_every_pixel_and_label(own, shape):
    splits = {"train": digits(12, shape), "test": digits(6, shape, seed=1), "validation": digits(3, shape, seed=2)}
    registry.register_dataset("mine", lambda: splits)
    data = own("mine", crop="none", channels=3 if shape[2:] == (3,) else 1)
    found = facts(data)
    assert (found.class_names, found.num_classes, found.image_size) == (None, 3, 8)
    assert found.channels == data.channels
    checks.check(data)
    for split, (images, labels) in splits.items():
        expected = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
        assert held(data, split) == expected


def test_the_function_is_called_to_plan_and_to_prepare(own):
    calls = []
    registry.register_dataset("mine", lambda: calls.append(0) or {"train": digits(), "test": digits(3)})
    assert registry.is_known("mine")
    assert not calls
    data = own("mine", validation_split="", crop="none")
    for _ in range(5):
        data.fingerprint = facts(data).fingerprint
        checks.check(data)
    assert len(calls) == 2


def test_another_process_opens_the_copy_by_its_fingerprint_alone(own, tmp_path):
    images, labels = digits()
    registry.register_dataset("mine", lambda: {"train": (images, labels), "test": digits(3)})
    data = own("mine", crop="none", image_size=8)
    data.fingerprint = facts(data).fingerprint
    sources.prepare(data)
    script = """
import json, sys
import numpy as np
from ml_collections import ConfigDict
from mnet_jax.data import decode, registry, sources, stream
from mnet_jax.data.facts import facts
from mnet_jax.devices.mesh import make_mesh
data = ConfigDict(json.load(sys.stdin))
assert not registry.is_known("mine")
source = sources.open_split(data, "train")
seen = {decode.whole(e["image"], 3).tobytes().hex(): e["label"] for e in source.__getitems__(range(len(source)))}
config = ConfigDict({"data": data, "model": {"num_classes": 3}})
batch = next(iter(stream.open_stream(config, "train", make_mesh()).training_batches(8, 0, 1)))
print(json.dumps([seen, facts(data).num_classes, facts(data).image_size, batch["image"].shape]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=data.to_json(),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    seen, num_classes, image_size, shape = json.loads(done.stdout)
    assert seen == {image.tobytes().hex(): label for image, label in zip(images, labels, strict=True)}
    assert (num_classes, image_size, shape) == (3, 8, [8, 8, 8, 3])


def test_a_function_that_raises_is_named_with_its_line(own):
    registry.register_dataset("mine", functools.partial(lambda zero: 1 // zero, 0))
    with pytest.raises(UserError, match=r"test_arrays\.py, line \d+: ZeroDivisionError"):
        facts(own("mine"))


def test_each_of_several_functions_is_called_once_to_plan(own):
    calls = []
    for name in ("one", "two"):
        registry.register_dataset(name, lambda name=name: calls.append(name) or {"train": digits(), "test": digits(3)})
    for name in ("one", "two") * 3:
        facts(own(name))
    assert calls == ["one", "two"]


def test_other_arrays_have_another_copy_and_a_sweep_that_has_begun_keeps_its_own(own, tmp_path):
    splits = {"train": digits(), "test": digits(3)}

    def mine():
        return splits

    def forget():
        """As a process that starts now."""
        arrays._called.clear()
        arrays._said.clear()

    registry.register_dataset("mine", mine)
    data = own("mine", crop="none")
    begun = own("mine", crop="none", fingerprint=facts(data).fingerprint)
    before = held(begun, "train")
    forget()
    splits["train"] = digits(seed=5)
    assert facts(data).fingerprint != begun.fingerprint
    assert held(data, "train") != before
    assert held(begun, "train") == before
    begun.data_dir = str(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="images have changed since the sweep started"):
        sources.prepare(begun)
    splits["train"] = digits()[0], digits()[1][::-1].copy()
    forget()
    assert facts(data).fingerprint != begun.fingerprint, "labels count too"


def test_arrays_that_changed_since_the_trials_were_looked_at_are_prepared_as_they_are_now_or_refused(own):
    images, labels = digits(12)
    registry.register_dataset("mine", lambda: {"train": (images, labels), "test": (images, labels)})
    planned = own("mine", crop="none")
    planned.fingerprint = facts(planned).fingerprint
    images[:], labels[:] = images[::-1].copy(), labels[::-1].copy()
    with pytest.raises(UserError, match="images have changed since the sweep started"):
        sources.prepare(planned)
    look_again()
    again = own("mine", crop="none")
    again.fingerprint = facts(again).fingerprint
    assert again.fingerprint != planned.fingerprint
    assert held(again, "train") == {image.tobytes(): label for image, label in zip(images, labels, strict=True)}


def pair(count=6, **changes):
    images, labels = digits(count, **{key: value for key, value in changes.items() if key == "shape"})
    return changes.get("images", images), changes.get("labels", labels)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, r"must return a dict of 'train', 'test'.* returned NoneType"),
        ({"train": pair()}, r"returned \['train'\]"),
        ({"train": pair(), "test": pair(), "dev": pair()}, r"returned \['dev', 'test', 'train'\]"),
        ({"train": pair()[0], "test": pair()}, r"data set mine, train: must be \(images, labels\), not ndarray"),
        (
            {"train": pair(images=np.zeros((6, 8, 8))), "test": pair()},
            r"mine, train: images must be uint8, not float64",
        ),
        ({"train": pair(shape=(8, 8, 4)), "test": pair()}, r"or \(N, height, width, 1 or 3\), not \(6, 8, 8, 4\)"),
        ({"train": pair(shape=(8,)), "test": pair()}, r"images must be \(N, height, width\).*, not \(6, 8\)"),
        ({"train": pair(), "test": pair(0)}, r"mine, test: there are no images"),
        ({"train": pair(), "test": pair(labels=np.arange(5) % 3)}, r"mine, test: 6 images and 5 labels"),
        ({"train": pair(labels=np.zeros(6)), "test": pair()}, r"labels must be integers \(N,\), not float64"),
        (
            {"train": pair(labels=np.zeros((6, 1), int)), "test": pair()},
            r"labels must be integers \(N,\), not int64 \(6, 1\)",
        ),
        (
            {"train": ([np.zeros((8, 8), np.uint8), np.zeros((9, 8), np.uint8)], [0, 1]), "test": pair()},
            r"differ in shape",
        ),
        ({"train": pair(labels=np.array([0, 2] * 3)), "test": pair()}, r"no training image has label 1, .* go up to 2"),
        (
            {"train": pair(), "test": pair(labels=np.full(6, 10**9))},
            r"no training image has label 3, .* up to 1000000000",
        ),
        ({"train": pair(labels=np.arange(6) - 1), "test": pair()}, r"labels count from 0; the smallest is -1"),
        (
            {"train": pair(labels=np.ones(6, int)), "test": pair(labels=np.ones(6, int))},
            r"count from 0; the smallest is 1",
        ),
        ({"train": pair(), "test": pair(shape=(8, 8))}, r"differ in shape between the splits: .*'test': \(8, 8, 1\)"),
    ],
)
def test_what_is_no_data_set_is_refused(own, returned, message):
    registry.register_dataset("mine", lambda: returned)
    with pytest.raises(UserError, match=message):
        facts(own("mine"))


def test_images_that_are_no_squares_need_a_crop(own):
    registry.register_dataset("mine", lambda: {"train": digits(shape=(6, 9)), "test": digits(3, (6, 9))})
    assert facts(own("mine")) == Facts(None, 3, None, 1, facts(own("mine")).fingerprint)
    with pytest.raises(UserError, match=r"no squares \(9 x 6 pixels\); config.data.crop='shift' needs"):
        facts(own("mine", crop="shift"))


def test_a_split_that_there_is_not_is_named(own):
    registry.register_dataset("mine", lambda: {"train": digits(), "test": digits(3)})
    with pytest.raises(
        UserError, match=r"validation_split='validation': no images there \(known splits: train \(12\), t"
    ):
        checks.check(own("mine", crop="none"))
