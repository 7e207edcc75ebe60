"""Batches on the devices. The training batch of a step is a pure function of (seed, step): resuming needs no iterator.

A stream is shared: every trial whose `identity.stream_key` is the same trains on the very same batches, which are
decoded and moved to the devices once, ahead of the step that needs them.
"""

import functools
import hashlib
import math
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence

import grain
import jax
import numpy as np
from grain.experimental import index_shuffle
from jax.sharding import Mesh, NamedSharding

from mnet_jax.data import cache, decode, masks, orientation
from mnet_jax.data.damage import Damage
from mnet_jax.devices.mesh import replicated_on, sharded_on
from mnet_jax.errors import UserError

Batch = dict[str, jax.Array]

_MAX_RESIDENT_BYTES = 2 * 2**30
_AHEAD = 2  # batches on the devices before they are needed
_ALIGNMENT = 64  # bytes
_PIECE = 128  # most images that a thread decodes in one go; what surrounds them costs as much for one as for many
_ROUNDS = 4  # of the cipher, as in Grain's own shuffle


def training_index(seed: int, position: int, num_examples: int) -> int:
    """Which example stands at a position of the stream: every epoch is a permutation of its own.

    Grain's `index_shuffle` (a cipher of variable size) gives one place of a permutation without the others, in some
    microseconds; among few examples a place takes longer, an epoch of them never more than some 30 ms.
    """
    epoch, offset = divmod(position, num_examples)
    return index_shuffle(offset, num_examples - 1, seed=_epoch_seed(seed, epoch), rounds=_ROUNDS)


@functools.lru_cache(maxsize=4)
def _epoch_seed(seed: int, epoch: int) -> int:
    """32 bits, so mixed that epoch 1 of seed 0 is not epoch 0 of seed 1."""
    return int.from_bytes(hashlib.sha256(f"{seed},{epoch}".encode()).digest()[:4], "little")


def open_stream(config, split: str, mesh: Mesh) -> "Stream":
    """The batches of a split; kept on the devices where it fits and the host draws no crop.

    Args:
      config: `config.data`, whose `seed` is that of the order and of the host's crops; `config.model.num_classes`.
      split: of the data set, such as "train[:55000]".
      mesh: the devices among which batches are split.

    Raises:
      UserError: the data are missing, or images or labels are not as the config says.
    """
    data = config.data
    source = cache.open_split(data, split)
    num_bytes = len(source) * data.image_size**2 * (data.channels + masks.are_those_of(data))
    fits = data.crop != "inception" and num_bytes <= _MAX_RESIDENT_BYTES
    return (ResidentStream if fits else HostStream)(source, data, config.model.num_classes, mesh)


def _joined(pieces: Sequence[dict]) -> dict:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


class Stream:
    """The batches of one split. "image" is uint8 (batch, image_size, image_size, channels), "label" int32 (batch,).

    Where the data set has masks, "label" is uint8 (batch, image_size, image_size): a class per pixel, or `masks.VOID`.
    A smaller image is at the top left; around it are the mean colour and void.

    An image that cannot be decoded is named in the log and left out: the next one takes its place in training, and
    evaluation does not count it.

    Attributes:
      num_examples: in the split.
      num_decoded: images that this process decoded so far.
    """

    def __init__(self, source, data, num_classes: int, mesh: Mesh):
        self._source, self._data, self._num_classes = source, data, num_classes
        self._replicated, self._sharded = replicated_on(mesh), sharded_on(mesh)
        self._has_masks = masks.are_those_of(data)
        self._turn = orientation.is_due(data)
        self._damage = Damage(data)
        self.num_examples = len(source)
        self.num_decoded = 0

    def training_batches(self, batch_size: int, first_step: int, last_step: int) -> Iterator[Batch]:
        """The batches {"image", "label"} of the steps first_step, ..., last_step - 1."""
        raise NotImplementedError

    def evaluation_batches(self, batch_size: int) -> Iterator[Batch]:
        """Every example once, in order, with "mask" (batch,): 0.0 where the last batch is padded."""
        raise NotImplementedError

    def _whole(self, example) -> np.ndarray:
        image = decode.whole(example["image"], self._data.channels, self._turn)
        expected = (self._data.image_size, self._data.image_size, self._data.channels)
        if self._has_masks and max(image.shape[:2]) <= self._data.image_size:
            return masks.surrounded(image, self._data.image_size, masks.colour(self._data))
        if image.shape != expected:
            raise UserError(f"data set {self._data.name}: an image is {image.shape}, config.data says {expected}")
        return image

    def _label(self, example) -> np.int32 | np.ndarray:
        if self._has_masks:
            mask = masks.decoded(example["label"])
            masks.check_labels(mask, self._num_classes, f"data set {self._data.name}")
            return masks.surrounded(mask, self._data.image_size, masks.VOID)
        if not 0 <= example["label"] < self._num_classes:
            raise UserError(
                f"data set {self._data.name} has label {example['label']}, which config.model.num_classes="
                f"{self._num_classes} leaves out"
            )
        return np.int32(example["label"])

    def _blank(self, count: int) -> dict[str, np.ndarray]:
        """Arrays of so many examples, to be written to: black, and of class 0 or void."""
        side = self._data.image_size
        labels = masks.blank(count, side) if self._has_masks else np.zeros(count, np.int32)
        return {"image": _aligned_zeros((count, side, side, self._data.channels)), "label": labels}


class ResidentStream(Stream):
    """A split as one uint8 array on every device; batches are gathered there."""

    def __init__(self, source, data, num_classes: int, mesh: Mesh):
        super().__init__(source, data, num_classes, mesh)
        arrays, self._is_sound = self._blank(len(source)), np.ones(len(source), bool)
        for i, example in enumerate(source.__getitems__(range(len(source)))):
            arrays["label"][i] = self._label(example)
            try:
                arrays["image"][i] = self._whole(example)
            except decode.BadImage as error:
                self._damage.add(i, example, error)
                self._is_sound[i] = False
        self.num_decoded = int(self._is_sound.sum())
        self._arrays = {name: _put(array, self._replicated) for name, array in arrays.items()}
        beyond = {"image": 0, "label": masks.VOID if self._has_masks else 0}  # what pads the last batch of a split
        self._gather = jax.jit(
            lambda arrays, indices: {
                name: array.at[indices].get(mode="fill", fill_value=beyond[name]) for name, array in arrays.items()
            },
            in_shardings=(self._replicated, self._sharded),
            out_shardings=self._sharded,
        )

    def training_batches(self, batch_size, first_step, last_step):
        for step in range(first_step, last_step):
            positions = range(step * batch_size, (step + 1) * batch_size)
            indices = [self._sound(training_index(self._data.seed, p, self.num_examples)) for p in positions]
            yield self._gather(self._arrays, _put(np.asarray(indices, np.int32), self._sharded))

    def evaluation_batches(self, batch_size):
        for first in range(0, self.num_examples, batch_size):
            indices = np.arange(first, first + batch_size, dtype=np.int32)
            mask = np.zeros(batch_size, np.float32)
            mask[: self.num_examples - first] = self._is_sound[first : first + batch_size]
            yield self._gather(self._arrays, _put(indices, self._sharded)) | {"mask": _put(mask, self._sharded)}

    def _sound(self, index: int) -> int:
        """The example itself, or the next one that is not damaged."""
        for i in range(self.num_examples):
            if self._is_sound[(index + i) % self.num_examples]:
                return (index + i) % self.num_examples
        return index


def _aligned_zeros(shape: Sequence[int]) -> np.ndarray:
    """uint8, where JAX on a CPU takes it without copying it."""
    size = math.prod(shape)
    buffer = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].reshape(shape)


def _put(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Every process has the whole array and gives its own devices their parts."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


class HostStream(Stream):
    """A split that Grain's threads read, decode and crop; every process only its own share of a batch."""

    def __init__(self, source, data, num_classes: int, mesh: Mesh):
        super().__init__(source, data, num_classes, mesh)
        self._lock = threading.Lock()

    def training_batches(self, batch_size, first_step, last_step):
        return self._read(self._training_piece, range(first_step * batch_size, last_step * batch_size), batch_size)

    def evaluation_batches(self, batch_size):
        padded = -(-self.num_examples // batch_size) * batch_size
        return self._read(self._evaluation_piece, range(padded), batch_size)

    def _read(self, piece_of: Callable[[range], dict], positions: range, batch_size: int) -> Iterator[Batch]:
        """Batches ahead of their use.

        Args:
          piece_of: makes a piece of a batch from positions, in one of several threads.
          positions: in the stream.
          batch_size: of all processes together.
        """
        share = batch_size // jax.process_count()
        piece = next(size for size in range(min(share, _PIECE), 0, -1) if share % size == 0)
        first = positions.start + jax.process_index() * share

        def numbered(i: int) -> dict:
            step, row = divmod(int(i) * piece, share)
            start = first + step * batch_size + row
            return piece_of(range(start, start + piece))

        threads = min(self._data.read_threads, os.cpu_count())
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads + 1, _AHEAD * share // piece))
        pieces = grain.MapDataset.range(len(positions) // jax.process_count() // piece).map(numbered)
        batches = pieces.to_iter_dataset(options)
        if piece < share:
            batches = batches.batch(share // piece, batch_fn=_joined)
        batches = batches.map(self._put)
        return iter(grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=_AHEAD))

    def _put(self, batch: dict) -> Batch:
        return {name: jax.make_array_from_process_local_data(self._sharded, part) for name, part in batch.items()}

    def _training_piece(self, positions: range) -> dict:
        piece = self._blank(len(positions))
        for row, position in enumerate(positions):
            first = training_index(self._data.seed, position, self.num_examples)
            crop = functools.partial(self._training_crop, position)
            for following in range(self.num_examples):
                index = (first + following) % self.num_examples
                example = self._source[index]
                if self._is_written(index, example, crop, piece["image"][row]):
                    break
            piece["label"][row] = self._label(example)
        return piece

    def _evaluation_piece(self, positions: range) -> dict:
        piece = self._blank(len(positions)) | {"mask": np.zeros(len(positions), np.float32)}
        for row, index in enumerate(position for position in positions if position < self.num_examples):
            example = self._source[index]
            if self._is_written(index, example, self._evaluation_crop, piece["image"][row]):
                piece["label"][row], piece["mask"][row] = self._label(example), 1
        return piece

    def _training_crop(self, position: int, example: dict, out: np.ndarray) -> None:
        if self._data.crop == "inception":
            rng = random.Random((self._data.seed << 64) + position)
            decode.inception_crop(example["image"], rng, out, self._turn)
        else:
            out[:] = self._whole(example)

    def _evaluation_crop(self, example: dict, out: np.ndarray) -> None:
        if self._data.crop == "inception":
            out[:] = decode.evaluation_crop(example["image"], self._data, self._turn)
        else:
            out[:] = self._whole(example)

    def _is_written(self, index: int, example: dict, crop: Callable[[dict, np.ndarray], None], out: np.ndarray) -> bool:
        """Crops an example into `out`; False, and a word in the log, if it is damaged.

        Raises:
          UserError: more than `config.data.max_bad_images` were.
        """
        try:
            crop(example, out)
        except decode.BadImage as error:
            self._damage.add(index, example, error)
            return False
        with self._lock:
            self.num_decoded += 1
        return True
