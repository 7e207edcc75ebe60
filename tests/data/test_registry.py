"""Arrays and builders of one's own: registered, prepared, and opened where nothing is registered."""

import functools
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mnet_jax.config.own import load_object
from mnet_jax.data import arrays, checks, decode, registry, sources, stream
from mnet_jax.data.facts import Facts, facts, look_again
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.errors import UserError
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def nothing_else_registered(monkeypatch):
    monkeypatch.setattr(registry, "_functions", {})
    monkeypatch.setattr(registry, "_builders", {})


def digits(count=12, shape=(8, 8, 3), num_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % num_classes


def held(data, split):
    source = sources.open_split(data, split)
    examples = source.__getitems__(range(len(source)))
    return {decode.whole(example["image"], data.channels).tobytes(): example["label"] for example in examples}


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


def test_without_a_copy_an_unregistered_name_is_refused(own):
    with pytest.raises(UserError, match=r"data.name='mnist5kk': did you mean mnist5k\? \(known: mnist5k, "):
        facts(own("mnist5kk"))
    with pytest.raises(
        UserError, match=r"data set mine is not registered here, and .*/arrays/mine/0123/.* is not prep"
    ):
        sources.prepare(own("mine", fingerprint="0123"))
    with pytest.raises(
        UserError, match=r"a.py:Flowers is not registered here, and .*prepared/flowers/1.0.0 is not prep"
    ):
        sources.prepare(own("a.py:Flowers", fingerprint="flowers/1.0.0"))


class Maker:
    def __call__(self):
        return {"train": digits(), "test": digits(3)}


@pytest.mark.parametrize(
    "function", [functools.partial(lambda count: {"train": digits(), "test": digits(count)}, 3), Maker()]
)
def test_what_can_be_called_is_a_function(own, function):
    registry.register_dataset("mine", function)
    registry.register_dataset("mine", function)
    assert facts(own("mine", crop="none")).num_classes == 3


def test_a_function_that_raises_is_named_with_its_line(own):
    registry.register_dataset("mine", functools.partial(lambda zero: 1 // zero, 0))
    with pytest.raises(UserError, match=r"test_registry\.py, line \d+: ZeroDivisionError"):
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


def test_a_definition_that_is_executed_again_takes_its_own_place_and_another_is_refused():
    source = "def mine(): return {}"
    one, again, elsewhere = {}, {}, {}
    exec(compile(source, "config.py", "exec"), one)
    exec(compile(f"\n\n{source}", "config.py", "exec"), again)
    exec(compile(source, "other.py", "exec"), elsewhere)
    registry.register_dataset("mine", one["mine"])
    registry.register_dataset("mine", one["mine"])
    registry.register_dataset("mine", again["mine"])
    assert registry.function("mine") is again["mine"]
    for other in (elsewhere["mine"], lambda: {0: 0}, dict):
        with pytest.raises(UserError, match="there is another data set 'mine'"):
            registry.register_dataset("mine", other)
    registry.register_dataset("theirs", dict)
    with pytest.raises(UserError, match="there is another data set 'theirs'"):
        registry.register_dataset("theirs", list)


def test_names_and_functions_that_are_none_are_refused():
    for name in ("", "a/b", "a:b", ".hidden", "a b", None):
        with pytest.raises(UserError, match="is no name"):
            registry.register_dataset(name, dict)
    for name in registry.BUILT_IN:
        with pytest.raises(UserError, match="another data set"):
            registry.register_dataset(name, dict)
    with pytest.raises(UserError, match="is no function"):
        registry.register_dataset("mine", {})


def test_every_built_in_name_has_a_builder():
    assert {*sources.SOURCES, "image_folder"} == set(registry.BUILT_IN) == set(registry.known())


class Flowers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Three classes of squares, yielded as encoded PNGs."""

    VERSION = tfds.core.Version("2.1.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(8, 8, 3)),
            "label": tfds.features.ClassLabel(names=["daisy", "rose", "tulip"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 12), "test": self._generate_examples(1, 6)}

    def _generate_examples(self, seed, count):
        for i, (image, label) in enumerate(zip(*digits(count, seed=seed), strict=True)):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            file.seek(0)
            yield i, {"image": file, "label": int(label)}


def test_a_builder_is_prepared_and_says_what_it_holds(own, capsys):
    name = "flowers.py:Flowers"
    registry.register_builder(name, Flowers)
    registry.register_builder(name, Flowers)
    assert registry.is_known(name)
    data = own(name, crop="none", image_size=8, validation_split="")
    expected = Facts(("daisy", "rose", "tulip"), 3, 8, 3, "flowers/2.1.0")
    assert facts(data) == expected
    checks.check(data)
    assert (
        "data set flowers.py:Flowers: 3 classes (daisy, rose, tulip), 12 train, 6 test images"
        in capsys.readouterr().err
    )
    images, labels = digits(6, seed=1)
    held_before = held(data, "test")
    assert held_before == {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    registry._builders.clear()  # as a process that has not loaded the class
    data.fingerprint = expected.fingerprint
    assert facts(data) == expected
    assert held(data, "test") == held_before
    batches = list(
        stream.open_stream(own("", data=data, model={"num_classes": 3}), "test", make_mesh()).evaluation_batches(8)
    )
    assert float(batches[0]["mask"].sum()) == 6


def test_another_version_than_a_sweep_began_with_is_refused(own):
    registry.register_builder("flowers.py:Flowers", Flowers)
    data = own("flowers.py:Flowers", fingerprint="flowers/2.0.0")
    with pytest.raises(UserError, match=r"the builder is flowers/2.1.0 now, config.data.fingerprint='flowers/2.0.0'"):
        sources.prepare(data)


def builder_of(**features):
    class Odd(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {}

        def _generate_examples(self):
            yield from ()

    return Odd


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"label": tfds.features.Scalar(np.int64)}, r'"image" must be an 8-bit tfds.features.Image, not None'),
        (
            {
                "image": tfds.features.Image(dtype=np.uint16, encoding_format="png", shape=(8, 8, 1)),
                "label": tfds.features.Scalar(np.int64),
            },
            r'"image" must be an 8-bit',
        ),
        ({"image": tfds.features.Image()}, r'"label" must be a ClassLabel or an integer, not None'),
        ({"image": tfds.features.Image(), "label": tfds.features.Scalar(np.float32)}, r'"label" must be a ClassLabel'),
    ],
)
def test_a_builder_without_images_and_labels_is_refused(own, features, message):
    registry.register_builder("odd.py:Odd", builder_of(**features))
    with pytest.raises(UserError, match=message):
        facts(own("odd.py:Odd"))


def test_a_builder_with_plain_integers_and_images_of_any_size_says_less(own):
    registry.register_builder(
        "odd.py:Odd", builder_of(image=tfds.features.Image(), label=tfds.features.Scalar(np.int64))
    )
    assert facts(own("odd.py:Odd")) == Facts(channels=3, fingerprint="odd/1.0.0")


def test_a_builder_that_needs_tensorflow_says_what_to_do(own, monkeypatch):
    class OfArrays(Flowers, skip_registration=True):
        def _generate_examples(self, seed, count):
            yield 0, {"image": digits()[0][0], "label": 0}

    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as if it were not installed
    registry.register_builder("flowers.py:OfArrays", OfArrays)
    with pytest.raises(UserError, match=r"needs TensorFlow.*yield a PNG or JPEG as io.BytesIO"):
        sources.prepare(own("flowers.py:OfArrays"))


@pytest.mark.parametrize("thing", [int, dict, Flowers.__mro__[1].__mro__[-2], "Flowers", None])
def test_what_is_no_builder_is_refused(thing):
    with pytest.raises(UserError, match=r"no tfds.core.GeneratorBasedBuilder"):
        registry.register_builder("flowers.py:Flowers", thing)


def test_two_builders_under_one_name_are_refused():
    registry.register_builder("flowers.py:Flowers", Flowers)
    with pytest.raises(UserError, match="there is another data set"):
        registry.register_builder("flowers.py:Flowers", builder_of(image=tfds.features.Image()))


class Broken(Flowers, skip_registration=True):
    def _split_generators(self, dl_manager):
        return {"train": 1 / 0}


class Abstract(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (Broken, r"test_registry\.py, line \d+: ZeroDivisionError: division by zero"),
        (Abstract, r"test_registry\.py: TypeError: Can't instantiate abstract class Abstract"),
    ],
)
def test_a_builder_that_raises_is_named_with_its_line(own, builder, message):
    name = f"flowers.py:{builder.__name__}"
    registry.register_builder(name, builder)
    with pytest.raises(UserError, match=message) as error:
        checks.check(own(name, crop="none", image_size=8, validation_split=""))
    assert "\n" not in str(error.value)


BUILDER = """
import io
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

GRAY = {gray}

class Flowers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("{version}")

    def _info(self):
        features = {{"image": tfds.features.Image(shape=(8, 8, 1)), "label": tfds.features.ClassLabel(num_classes=2)}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples(4), "test": self._generate_examples(2)}}

    def _generate_examples(self, count):
        for i in range(count):
            file = io.BytesIO()
            Image.fromarray(np.full((8, 8), GRAY, np.uint8)).save(file, "PNG")
            file.seek(0)
            yield i, {{"image": file, "label": i % 2}}
"""


def test_a_copy_that_another_class_of_that_name_and_version_made_is_not_taken(own, tmp_path):
    def data_of(folder, gray, version="1.0.0"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "flowers.py").write_text(BUILDER.format(gray=gray, version=version))
        name = f"{folder}/flowers.py:Flowers"
        registry.register_builder(name, load_object(name, tmp_path))
        return own(name, crop="none", image_size=8, channels=1, validation_split="")

    first = data_of("a", 10)
    assert set(held(first, "test")) == {bytes([10] * 64)}
    assert set(held(data_of("same", 10), "test")) == {bytes([10] * 64)}
    with pytest.raises(UserError, match=r"flowers/1\.0\.0 was prepared by another class .*give Flowers\.VERSION"):
        checks.check(data_of("b", 20))
    assert set(held(data_of("c", 20, "1.0.1"), "test")) == {bytes([20] * 64)}


def test_a_builder_from_tfds_template_finds_its_pages_beside_it(own, tmp_path):
    text = BUILDER.format(gray=10, version="1.0.0").replace(
        "tfds.core.DatasetInfo(builder=self, features", "self.dataset_info_from_configs(features"
    )
    assert "self.dataset_info_from_configs(features" in text
    (tmp_path / "flowers.py").write_text(text)
    (tmp_path / "README.md").write_text("Gray flowers.")
    name = "flowers.py:Flowers"
    registry.register_builder(name, load_object(name, tmp_path))
    data = own(name, crop="none", image_size=8, channels=1, validation_split="")
    assert set(held(data, "test")) == {bytes([10] * 64)}
    assert sources.prepare(data).info.description == "Gray flowers."
