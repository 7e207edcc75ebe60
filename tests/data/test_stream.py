import contextlib
import copy
import io
import itertools
import random
import tracemalloc
import types

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from mnet_jax import presets
from mnet_jax.config.resolve import resolve
from mnet_jax.data import cache, sources, stream
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.errors import UserError


class Pictures(list):
    """Random access to encoded pictures, as a TFDS data source gives it."""

    def __getitems__(self, indices):
        return [self[i] for i in indices]


def pictures(count, shape, kind="PNG"):
    rng = np.random.default_rng(0)
    found = Pictures()
    for label in range(count):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(file, kind)
        found.append({"image": file.getvalue(), "label": label})
    return found


@pytest.fixture
def data():
    config = resolve(presets.get("imagenet")).unlock()
    config.data.update(image_size=16, channels=3, read_threads=4, crop="none")
    return config.data


def opened(kind, source, data, seed=0, num_classes=10):
    data.seed = seed
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",), axis_types=(AxisType.Auto,))
    return kind(source, copy.deepcopy(data), num_classes, mesh)


STREAMS = [stream.ResidentStream, stream.HostStream]


def order(seed, epoch, num_examples):
    positions = range(epoch * num_examples, (epoch + 1) * num_examples)
    return [stream.training_index(seed, position, num_examples) for position in positions]


@pytest.mark.parametrize("num_examples", [1, 2, 3, 4, 7, 64, 1000, 4097])
def test_every_epoch_is_a_permutation(num_examples):
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (2**31 - 1, 89)):
        assert sorted(order(seed, epoch, num_examples)) == list(range(num_examples))


def test_every_order_of_three_examples_occurs_about_as_often():
    orders = [tuple(order(seed, epoch, 3)) for seed in range(10) for epoch in range(9)]
    counts = [orders.count(one) for one in itertools.permutations(range(3))]
    assert sum(counts) == 90
    assert min(counts) > 5, counts


def test_no_epoch_of_a_seed_is_an_epoch_of_another():
    orders = {tuple(order(seed, epoch, 100)) for seed in range(8) for epoch in range(8)}
    assert len(orders) == 64


def test_the_order_is_the_one_that_results_were_made_with():
    """Changing it changes the result of every training: give `identity` another version of the stream's order then."""
    assert order(0, 0, 10) == [6, 8, 5, 4, 1, 2, 0, 3, 7, 9]
    assert order(0, 1, 10) == [1, 7, 3, 2, 4, 5, 0, 8, 9, 6]
    assert order(1, 0, 10) == [2, 8, 4, 9, 0, 6, 3, 1, 5, 7]
    imagenet = 1_281_167
    assert [stream.training_index(7, 89 * imagenet + i, imagenet) for i in range(4)] == [97414, 228767, 487089, 360356]


@pytest.mark.parametrize("kind", STREAMS)
def test_every_epoch_shows_each_image_once_in_an_order_of_its_own(kind, data):
    source = pictures(10, (16, 16, 3))
    batches = list(opened(kind, source, data, seed=1, num_classes=10).training_batches(4, 0, 10))
    labels = np.concatenate([batch["label"] for batch in batches]).reshape(4, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in labels.tolist())
    assert len({tuple(epoch) for epoch in labels.tolist()}) == 4
    assert {batch["image"].dtype for batch in batches} == {np.dtype(np.uint8)}


@pytest.mark.parametrize(
    ("kind", "crop"),
    [(stream.ResidentStream, "none"), (stream.HostStream, "none"), (stream.HostStream, "inception")],
)
def test_a_batch_is_a_function_of_seed_and_step(kind, crop, data):
    data.crop = crop
    source = pictures(10, (16, 16, 3) if crop == "none" else (40, 30, 3))
    whole = list(opened(kind, source, data, seed=1, num_classes=10).training_batches(4, 0, 8))
    resumed = list(opened(kind, source, data, seed=1, num_classes=10).training_batches(4, 5, 8))
    for batch, again in zip(whole[5:], resumed, strict=True):
        np.testing.assert_array_equal(batch["label"], again["label"])
        np.testing.assert_array_equal(batch["image"], again["image"])
    other = next(iter(opened(kind, source, data, seed=2, num_classes=10).training_batches(4, 0, 1)))
    assert not np.array_equal(other["image"], whole[0]["image"])


def test_both_streams_give_the_same_batches(data):
    source = pictures(10, (16, 16, 3))
    array, grain = (opened(kind, source, data, seed=3, num_classes=10) for kind in STREAMS)
    pairs = itertools.chain(
        zip(array.training_batches(4, 2, 6), grain.training_batches(4, 2, 6), strict=True),
        zip(array.evaluation_batches(4), grain.evaluation_batches(4), strict=True),
    )
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])


@pytest.mark.parametrize("kind", STREAMS)
def test_evaluation_shows_every_image_once_and_masks_the_rest(kind, data):
    batches = list(opened(kind, pictures(10, (16, 16, 3)), data, seed=0, num_classes=10).evaluation_batches(4))
    assert [batch["image"].shape for batch in batches] == [(4, 16, 16, 3)] * 3
    labels, mask = (np.concatenate([batch[key] for batch in batches]) for key in ("label", "mask"))
    assert labels[mask > 0].tolist() == list(range(10))
    assert mask.sum() == 10


def test_inception_crops_differ_from_epoch_to_epoch(data):
    data.crop = "inception"
    source = pictures(2, (40, 30, 3), "JPEG")
    batches = list(opened(stream.HostStream, source, data, seed=0, num_classes=10).training_batches(2, 0, 2))
    assert not np.array_equal(batches[0]["image"], batches[1]["image"])


def test_images_of_another_size_than_the_config_says_are_refused(data):
    with pytest.raises(UserError, match=r"\(20, 16, 3\), config.data says \(16, 16, 3\)"):
        opened(stream.ResidentStream, pictures(2, (20, 16, 3)), data, seed=0, num_classes=10)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_label_that_the_network_has_no_class_for_is_refused(kind, data):
    with pytest.raises(UserError, match=r"label \d, which config.model.num_classes=5 leaves out"):
        list(opened(kind, pictures(10, (16, 16, 3)), data, seed=0, num_classes=5).training_batches(10, 0, 1))


def test_a_real_split_becomes_an_array(tiny):
    found = stream.open_stream(tiny, "train[:256]", make_mesh())
    assert isinstance(found, stream.ResidentStream)
    assert found.num_examples == found.num_decoded == 256


IMAGENET = 1_281_167


class Records:
    """As many records as ImageNet has, none of which is kept: number i has the label i."""

    def __init__(self, record_of):
        self._record_of = record_of

    def __len__(self):
        return IMAGENET

    def __getitem__(self, index):
        return self._record_of(range(IMAGENET)[index])


def as_tfds_stores_it(jpeg):
    def record_of(label):
        example = tf_example_pb2.Example()
        example.features.feature["image"].bytes_list.value.append(jpeg)
        example.features.feature["label"].int64_list.value.append(label)
        return example.SerializeToString()

    return record_of


@pytest.mark.parametrize("cache_side", [None, 16])
def test_a_split_as_large_as_imagenet_needs_no_index_in_memory(data, monkeypatch, cache_side):
    """A list of its numbers would take 10 MB, an array 5; batches of 300 epochs are begun from any step."""
    data.crop, data.cache_side = "inception", cache_side
    jpeg = pictures(1, (20, 24, 3), "JPEG")[0]["image"]
    split = tfds.core.SplitInfo(name="train", shard_lengths=[IMAGENET], num_bytes=0)
    stored = types.SimpleNamespace(data_source=Records(as_tfds_stores_it(jpeg)))
    builder = types.SimpleNamespace(
        info=types.SimpleNamespace(splits=tfds.core.splits.SplitDict([split])), as_data_source=lambda *_, **__: stored
    )
    monkeypatch.setattr(sources, "prepare", lambda _: builder)
    shrunk = Records(lambda label: cache._HEADER.pack(label, 0) + jpeg)
    monkeypatch.setattr(cache, "_records", lambda *_: shrunk)
    config = ConfigDict({"data": data, "model": {"num_classes": IMAGENET}})
    last = 300 * IMAGENET // 64

    def labels_of(found, first):
        with contextlib.closing(found.training_batches(64, first, last)) as batches:
            return np.concatenate([batch["label"] for batch in itertools.islice(batches, 4)])

    labels_of(stream.open_stream(config, "train", make_mesh()), 0)  # what is imported and compiled once
    tracemalloc.start()
    try:
        found = stream.open_stream(config, "train", make_mesh())
        seen = {first: labels_of(found, first) for first in (0, 2 * IMAGENET // 64, last - 4)}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.num_examples == IMAGENET
    assert peak < 3e6, f"{peak / 1e6:.1f} MB"
    for first, labels in seen.items():
        expected = [stream.training_index(0, first * 64 + i, IMAGENET) for i in range(256)]
        assert labels.tolist() == expected


def test_an_epoch_of_imagenet_is_a_permutation_of_all_its_images():
    """Of 20,000 places, 156 would share an image with another if they were drawn one by one."""
    places = random.Random(0).sample(range(IMAGENET), 20_000)
    shown = np.array([stream.training_index(3, 5 * IMAGENET + place, IMAGENET) for place in places])
    assert len(np.unique(shown)) == 20_000
    assert 0 <= shown.min() < 1_000
    assert IMAGENET - 1_000 < shown.max() < IMAGENET
    counts, _ = np.histogram(shown, 20, (0, IMAGENET))
    assert 850 < counts.min() <= counts.max() < 1_150, "a thousand in every twentieth of the images"
    assert abs(np.corrcoef(places, shown)[0, 1]) < 0.03
