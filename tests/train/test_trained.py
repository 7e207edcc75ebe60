"""`mnet_jax.load`: a trial's network, used as it was evaluated."""

import textwrap

import jax
import numpy as np
import pytest
from PIL import Image

import mnet_jax
from mnet_jax.config.source import keep, source_of
from mnet_jax.data import sources
from mnet_jax.data.augment import standardize
from mnet_jax.data.stream import open_stream
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.devices.signals import Interruption
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.train import inputs, loop
from mnet_jax.workdir.files import TrialFolder


@pytest.fixture
def digits(tmp_path, tiny):
    """The folder of a trial on digits, trained."""
    tiny.train.epochs = 0.5
    return trained(tmp_path / "work" / "trials" / "digits", tiny)


def trained(path, config, **overrides):
    folder = TrialFolder(path)
    resolved = inputs.settle(config, overrides)
    inputs.prepare(resolved)
    folder.create(resolved.to_dict())
    loop.train([folder], Interruption())
    assert folder.status() == "done", folder.error()
    return folder


def logits_of_the_evaluation(network):
    """What the eval step computes for the test split: the stream's own batches, by the same function."""
    config = network.config
    stream = open_stream(config, config.data.test_split, make_mesh())

    def logits(variables, images):
        return network.module.apply(variables, standardize(images, config.data, config.input_size), train=False)

    found = []
    for batch in stream.evaluation_batches(config.train.batch_size):
        found.append(np.asarray(jax.jit(logits)(network.variables, batch["image"]))[np.asarray(batch["mask"]) > 0])
    return np.concatenate(found)


def test_digits_as_bytes_and_as_arrays_give_the_evaluations_logits(digits):
    network = mnet_jax.load(digits.path)
    examples = sources.open_split(network.config.data, network.config.data.test_split)
    encoded = [examples[i]["image"] for i in range(len(examples))]
    expected = logits_of_the_evaluation(network)
    np.testing.assert_allclose(network.logits(encoded), expected, rtol=1e-5, atol=1e-5)
    pixels = network.preprocess(encoded)
    np.testing.assert_array_equal(network.preprocess(list(pixels[..., 0])), pixels)
    probabilities = network.predict(pixels)
    assert probabilities.shape == (100, 10)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    labels = [examples[i]["label"] for i in range(len(examples))]
    assert np.mean(probabilities.argmax(-1) == labels) == pytest.approx(digits.result()["top1"])
    assert network.classes == tuple("0123456789")
    assert network.step == 2
    assert digits.result()["classes"] == list("0123456789")


@pytest.mark.parametrize("honoured", [None, False])
def test_pictures_of_a_folder_are_cropped_and_turned_as_in_training(tmp_path, folder_config, picture_folder, honoured):
    folder_config.data.exif_orientation = honoured
    trial = trained(tmp_path / "work" / "trials" / "pictures", folder_config)
    network = mnet_jax.load(trial.path)
    assert network.classes == ("bee", "cat", "owl")
    examples = sources.open_split(network.config.data, "test")
    paths = [picture_folder / examples[i]["file_name"].decode() for i in range(len(examples))]
    np.testing.assert_allclose(network.logits(paths), logits_of_the_evaluation(network), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [None, 20])
def test_pictures_of_imagenet_are_turned_where_the_option_says_so(tmp_path, tiny_imagenet, side):
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (tmp_path / "raw").rglob("*.JPEG"):
        Image.open(path).save(path, "JPEG", quality=95, exif=exif)
    tiny_imagenet.train.epochs = 1.0
    tiny_imagenet.data.update(exif_orientation=True, cache_side=side)
    network = mnet_jax.load(trained(tmp_path / "work" / "trials" / "pictures", tiny_imagenet).path)
    examples = sources.open_split(network.config.data, "validation")
    paths = [tmp_path / "raw" / "val" / examples[i]["file_name"].decode() for i in range(len(examples))]
    if side is None:
        np.testing.assert_allclose(network.logits(paths), logits_of_the_evaluation(network), rtol=1e-5, atol=1e-5)
    turned = [np.asarray(Image.open(path).transpose(Image.Transpose.ROTATE_270)) for path in paths]
    np.testing.assert_array_equal(network.preprocess(paths), network.preprocess(turned))


@pytest.fixture
def picture_folder(tmp_path):
    """3 classes x 20 small pictures; some are turned by EXIF."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    for name in ("bee", "cat", "owl"):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            image = Image.fromarray(rng.integers(0, 256, (30 + i, 40, 3), np.uint8))
            exif = Image.Exif()
            if i % 3 == 0:
                exif[0x0112] = 6
            image.save(folder / name / f"{i}.jpg", quality=95, exif=exif)
    return folder


@pytest.fixture
def folder_config(tmp_path, picture_folder):
    config = mnet_jax.get_preset("image_folder")
    config.data.update(source_dir=str(picture_folder), data_dir=str(tmp_path / "tfds"), image_size=24)
    config.data.test_fraction = 0.5
    config.input_size = 16
    config.model.update(alpha=0.25, total_stride=4)
    config.train.update(batch_size=8, epochs=1.0)
    return config


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("absent.jpg", "absent.jpg: No such file"),
        (b"no image", "no image that can be read"),
        (np.zeros((28, 28), np.float32), r"must be uint8 \(height, width\[, 1, 3 or 4\]\), not float32 \(28, 28\)"),
        (np.zeros((30, 28), np.uint8), r"has 28 x 30 pixels; this network was .* on images of 28 x 28"),
    ],
)
def test_what_is_no_image_for_it_is_refused(digits, image, message):
    with pytest.raises(UserError, match=message):
        mnet_jax.load(digits.path).predict([image])


def test_one_array_is_a_batch(digits):
    network = mnet_jax.load(digits.path)
    batch = np.zeros((2, 28, 28, 1), np.uint8)
    assert network.predict(batch).shape == network.predict(batch[..., 0]).shape == (2, 10)
    for images, message in (
        (
            batch[0],
            r"an array of images must be \(batch, height, width\[, channels\]\), not \(28, 28, 1\): put a single",
        ),
        (np.zeros((2, 28, 28, 5), np.uint8), r"an image must be uint8 .*not uint8 \(28, 28, 5\)"),
        (np.zeros((2, 0, 28, 1), np.uint8), r"an image must be uint8"),
        ((image for image in batch), r"images must be a sequence or one array, not generator"),
        (None, r"images must be a sequence or one array, not NoneType"),
    ):
        with pytest.raises(UserError, match=message):
            network.predict(images)


def test_what_is_transparent_in_an_array_is_what_it_is_in_a_file(tmp_path, folder_config):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    network = mnet_jax.load(trained(tmp_path / "work" / "trials" / "folder", folder_config).path)
    of_array, of_file = network.preprocess([pixels]), network.preprocess([tmp_path / "picture.png"])
    np.testing.assert_array_equal(of_array, of_file)


def test_a_folder_that_is_none_is_refused(tmp_path, tiny):
    with pytest.raises(UserError, match=r"is no folder of a trial \(it has no config.json\)"):
        mnet_jax.load(tmp_path)
    folder = TrialFolder(tmp_path / "trial")
    folder.create(inputs.settle(tiny).to_dict())
    with pytest.raises(UserError, match="trial has no checkpoint yet"):
        mnet_jax.load(folder.path)


def test_a_single_image_is_a_batch_of_one_and_the_network_says_what_it_is(digits):
    network = mnet_jax.load(digits.path)
    encoded = sources.open_split(network.config.data, "test[:1]")[0]["image"]
    np.testing.assert_array_equal(network.predict(encoded), network.predict([encoded]))
    with pytest.raises(UserError, match=r"absent\.png: No such file"):
        network.predict("absent.png")
    assert repr(network) == "Trained(mobilenet_v1 on mnist5k, 10 classes, 2 steps)"


def test_one_file_may_hold_a_network_and_a_data_set(tmp_path, tiny):
    """It is executed again, from what was kept of it: neither TFDS nor we take its names for new ones."""
    (tmp_path / "both.py").write_text(
        textwrap.dedent(
            """
            import flax.linen as nn
            import numpy as np
            import tensorflow_datasets as tfds
            import mnet_jax

            class Flowers(tfds.core.GeneratorBasedBuilder):
                VERSION = tfds.core.Version("1.0.0")

                def _info(self): ...
                def _split_generators(self, dl_manager): ...
                def _generate_examples(self): ...

            class Net(nn.Module):
                num_classes: int

                @nn.compact
                def __call__(self, x, train):
                    return nn.Dense(self.num_classes)(x.mean((1, 2)))

            mnet_jax.register_dataset("of_both", lambda: {})
            mnet_jax.register_model("net_of_both", Net)
            """
        )
    )
    tiny.folder = str(tmp_path)
    tiny.model.update(alpha=None, total_stride=8, name="both.py:Net")
    tiny.train.epochs = 0.5
    config = inputs.settle(tiny)
    source = source_of(registry.find("both.py:Net"))
    keep(source, tmp_path / "work" / "source" / source.digest)
    folder = trained(tmp_path / "work" / "trials" / "both", tiny)
    for _ in range(2):
        network = mnet_jax.load(folder.path)
        assert network.module.num_classes == config.model.num_classes == 10
