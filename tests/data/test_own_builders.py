"""TFDS builders of one's own: prepared without TensorFlow, opened where nothing is registered, refused in one line."""

import io
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mnet_jax.config.own import load_object
from mnet_jax.data import checks, registry, sources, stream
from mnet_jax.data.facts import Facts, facts
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.errors import UserError
from tests.data.small_sets import BUILDER, digits, held


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


class Broken(Flowers, skip_registration=True):
    def _split_generators(self, dl_manager):
        return {"train": 1 / 0}


class Abstract(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (Broken, r"test_own_builders\.py, line \d+: ZeroDivisionError: division by zero"),
        (Abstract, r"test_own_builders\.py: TypeError: Can't instantiate abstract class Abstract"),
    ],
)
def test_a_builder_that_raises_is_named_with_its_line(own, builder, message):
    name = f"flowers.py:{builder.__name__}"
    registry.register_builder(name, builder)
    with pytest.raises(UserError, match=message) as error:
        checks.check(own(name, crop="none", image_size=8, validation_split=""))
    assert "\n" not in str(error.value)


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


@pytest.mark.parametrize("thing", [int, dict, Flowers.__mro__[1].__mro__[-2], "Flowers", None])
def test_what_is_no_builder_is_refused(thing):
    with pytest.raises(UserError, match=r"no tfds.core.GeneratorBasedBuilder"):
        registry.register_builder("flowers.py:Flowers", thing)


def test_two_builders_under_one_name_are_refused():
    registry.register_builder("flowers.py:Flowers", Flowers)
    with pytest.raises(UserError, match="there is another data set"):
        registry.register_builder("flowers.py:Flowers", builder_of(image=tfds.features.Image()))
