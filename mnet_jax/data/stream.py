"""Batches. The training batch of a step is a pure function of (seed, step), so resuming needs no saved iterator."""

import functools
from collections.abc import Iterator

import grain
import numpy as np

from mnet_jax.data import decode, sources
from mnet_jax.errors import UserError

Batch = dict[str, np.ndarray]

_MAX_BYTES_IN_MEMORY = 2 * 2**30


def training_index(seed: int, position: int, num_examples: int) -> int:
    """Which example stands at a position of the stream: every epoch is a permutation of its own."""
    epoch, offset = divmod(position, num_examples)
    return int(_permutation(seed, epoch, num_examples)[offset])


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_examples)


def open_stream(config, split: str) -> "Stream":
    """The batches of a split; decoded once into memory where that fits and the host draws no crop.

    Args:
      config: `config.data`; `config.seed` of the order and of the host's crops; `config.model.num_classes`.
      split: of the data set, such as "train[:55000]".

    Raises:
      UserError: the data are missing, or images or labels are not as the config says.
    """
    data = config.data
    source = sources.open_split(data, split)
    num_bytes = len(source) * data.image_size**2 * data.channels
    fits = data.crop != "inception" and num_bytes <= _MAX_BYTES_IN_MEMORY
    return (ArrayStream if fits else GrainStream)(source, data, config.seed, config.model.num_classes)


class Stream:
    """The batches of one split. "image" is uint8 (batch, image_size, image_size, channels), "label" int32 (batch,)."""

    def __init__(self, source, data, seed: int, num_classes: int):
        self._source, self._data, self._seed, self._num_classes = source, data, seed, num_classes
        self.num_examples = len(source)

    def training_batches(self, batch_size: int, first_step: int, last_step: int) -> Iterator[Batch]:
        """The batches {"image", "label"} of the steps first_step, ..., last_step - 1."""
        raise NotImplementedError

    def evaluation_batches(self, batch_size: int) -> Iterator[Batch]:
        """Every example once, in order, with "mask" (batch,): 0.0 where the last batch is padded."""
        raise NotImplementedError

    def _label(self, example) -> np.int32:
        if not 0 <= example["label"] < self._num_classes:
            raise UserError(
                f"data set {self._data.name} has label {example['label']}, which config.model.num_classes="
                f"{self._num_classes} leaves out"
            )
        return np.int32(example["label"])


class ArrayStream(Stream):
    """A split as one uint8 array."""

    def __init__(self, source, data, seed: int, num_classes: int):
        super().__init__(source, data, seed, num_classes)
        examples = source.__getitems__(range(len(source)))
        self._images = np.stack([decode.whole(example["image"], data.channels) for example in examples])
        self._labels = np.asarray([self._label(example) for example in examples])
        expected = (data.image_size, data.image_size, data.channels)
        if self._images.shape[1:] != expected:
            raise UserError(f"data set {data.name}: images are {self._images.shape[1:]}, config.data says {expected}")

    def training_batches(self, batch_size, first_step, last_step):
        for step in range(first_step, last_step):
            positions = range(step * batch_size, (step + 1) * batch_size)
            yield self._batch([training_index(self._seed, p, self.num_examples) for p in positions])

    def evaluation_batches(self, batch_size):
        for first in range(0, self.num_examples, batch_size):
            indices = np.arange(first, min(first + batch_size, self.num_examples))
            yield _padded(self._batch(indices), batch_size)

    def _batch(self, indices) -> Batch:
        return {"image": self._images[indices], "label": self._labels[indices]}


class GrainStream(Stream):
    """A split that is read, decoded and cropped example by example, by Grain's threads."""

    def training_batches(self, batch_size, first_step, last_step):
        positions = range(first_step * batch_size, last_step * batch_size)
        return self._read(self._training_example, positions, batch_size)

    def evaluation_batches(self, batch_size):
        batches = self._read(self._evaluation_example, range(self.num_examples), batch_size)
        return (_padded(batch, batch_size) for batch in batches)

    def _read(self, example, positions: range, batch_size: int) -> Iterator[Batch]:
        options = grain.ReadOptions(num_threads=self._data.read_threads, prefetch_buffer_size=2 * batch_size)
        dataset = grain.MapDataset.range(positions.start, positions.stop).map(example)
        return iter(dataset.to_iter_dataset(options).batch(batch_size, drop_remainder=False))

    def _training_example(self, position: int) -> dict:
        position = int(position)
        example = self._source[training_index(self._seed, position, self.num_examples)]
        data = self._data
        if data.crop == "inception":
            rng = np.random.default_rng((self._seed, 1, position))
            image = decode.inception_crop(example["image"], data.channels, data.image_size, rng)
        else:
            image = decode.whole(example["image"], data.channels)
        return {"image": image, "label": self._label(example)}

    def _evaluation_example(self, position: int) -> dict:
        example, data = self._source[int(position)], self._data
        if data.crop == "inception":
            image = decode.evaluation_crop(example["image"], data)
        else:
            image = decode.whole(example["image"], data.channels)
        return {"image": image, "label": self._label(example)}


def _padded(batch: Batch, batch_size: int) -> Batch:
    count = len(batch["label"])
    padded = {
        key: np.concatenate([value, np.zeros((batch_size - count, *value.shape[1:]), value.dtype)])
        for key, value in batch.items()
    }
    return padded | {"mask": (np.arange(batch_size) < count).astype(np.float32)}
