"""A trial's network as it was saved, to use."""

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict
from PIL import Image

from mnet_jax.config import own
from mnet_jax.config.dotted import from_json
from mnet_jax.config.durations import in_steps
from mnet_jax.config.source import source_of
from mnet_jax.data import registry as data_sets
from mnet_jax.data.augment import standardize
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.pretrained import recipes
from mnet_jax.train import bn_devices, inputs, optim, step
from mnet_jax.train.checkpoint import Checkpoints
from mnet_jax.workdir.files import TrialFolder


@dataclasses.dataclass(frozen=True, repr=False)
class Trained:
    """A network with its variables.

    Attributes:
      config: the resolved config of its trial.
      module: the Linen module.
      variables: {"params", "batch_stats"} that are evaluated: moving averages where the trial has them, the mean of
        the devices' statistics where each has its own.
      step: updates behind them.
      classes: names of the classes by label, or their numbers where the data have no names.
    """

    config: ConfigDict
    module: nn.Module
    variables: Mapping[str, Any]
    step: int
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        name, data = self.config.model.name, self.config.data.name
        return f"Trained({name} on {data}, {len(self.classes)} classes, {self.step} steps)"

    def preprocess(self, images: Sequence) -> np.ndarray:
        """Images as the stream of an evaluation has them: (batch, image_size, image_size, channels), uint8.

        Args:
          images: a sequence of paths, encoded bytes, or uint8 arrays (height, width) or (height, width, channels); or
            one array of them, (batch, height, width) or (batch, height, width, channels). A single path or a single
            image's bytes are a batch of one.

        Raises:
          UserError: an image cannot be read, or has a size that the trial's evaluation would refuse.
        """
        alone = isinstance(images, str | bytes | os.PathLike)
        if not (alone or isinstance(images, Sequence | np.ndarray | jax.Array)):
            raise UserError(f"images must be a sequence or one array, not {type(images).__name__}")
        if not alone and len(images) == 0:
            raise UserError("there are no images to look at")
        is_array = isinstance(images, np.ndarray | jax.Array)
        if is_array and not (images.ndim == 4 or (images.ndim == 3 and images.shape[-1] not in (1, 3, 4))):
            raise UserError(
                f"an array of images must be (batch, height, width[, channels]), not {images.shape}: put a single "
                "image into a list"
            )
        return np.stack([self._pixels(image) for image in ([images] if alone else images)])

    def logits(self, images: Sequence) -> np.ndarray:
        """Logits (batch, num_classes), float32, equal to those of an evaluation of the same images.

        With `config.data.cache_side`, evaluations read images that were shrunk and encoded again; these are not.

        Args:
          images: as `preprocess` takes them.
        """
        return np.asarray(self._apply(self.variables, self.preprocess(images)))

    def predict(self, images: Sequence) -> np.ndarray:
        """Probabilities (batch, num_classes) of `classes`; see `logits`."""
        return np.asarray(jax.nn.softmax(self.logits(images)))

    def _pixels(self, image) -> np.ndarray:
        from mnet_jax.data import decode, orientation

        data, encoded = self.config.data, _encoded(image, self.config.data)
        turn = orientation.is_due(data)
        try:
            if data.crop == "inception":
                return decode.evaluation_crop(encoded, data, turn)
            pixels = decode.whole(encoded, data.channels, turn)
        except decode.BadImage as error:
            name = f"{image}: " if isinstance(image, str | os.PathLike) else ""
            raise UserError(f"{name}no image that can be read ({error})") from error
        if pixels.shape[:2] != (data.image_size, data.image_size):
            raise UserError(
                f"an image has {pixels.shape[1]} x {pixels.shape[0]} pixels; this network was trained and evaluated on "
                f"images of {data.image_size} x {data.image_size}, uncropped"
            )
        return pixels

    @functools.cached_property
    def _apply(self):
        def apply(variables, images):
            return self.module.apply(
                variables, standardize(images, self.config.data, self.config.input_size), train=False
            )

        return jax.jit(apply)


def register_network(folder: TrialFolder, config: ConfigDict) -> None:
    """Makes a network of one's own known by its name in this process, from the source that its sweep keeps.

    Raises:
      UserError: it is not there any more, or not what the trial was started with.
    """
    if config.model.get("fingerprint"):
        with _kept_class(folder, config) as cls:
            registry.MODELS[config.model.name] = cls


def load(folder: str | os.PathLike | TrialFolder) -> Trained:
    """The network of a trial's latest sound checkpoint; one's own comes from the source that is kept in the workdir.

    Args:
      folder: of the trial, such as "runs/width/trials/alpha=0.5-058e2ce0".

    Raises:
      UserError: it is no folder of a trial, there is no checkpoint yet, or it or the source cannot be read.
    """
    folder = folder if isinstance(folder, TrialFolder) else TrialFolder(folder)
    if not folder.has_config():
        raise UserError(f"{folder.path} is no folder of a trial (it has no config.json)")
    config = from_json(folder.config_text())
    with _kept_class(folder, config) as cls:
        module = registry.build(config.model, cls)
    checkpoints = Checkpoints(folder.checkpoints_path, read_only=True)
    if checkpoints.latest_step() is None:
        raise UserError(f"trial {folder.name} has no checkpoint yet")
    optimizer, _ = optim.build(config.optim, in_steps(config, 1))
    abstract_state = jax.eval_shape(lambda: step.create_state(module, optimizer, config, config.seed))
    num_devices = 1
    if bn_devices.is_local(config) and (known := checkpoints.saved()) is not None:
        num_devices = bn_devices.saved_devices(known, abstract_state.batch_stats)
    if num_devices > 1:
        abstract_state = jax.eval_shape(lambda state: bn_devices.spread(state, num_devices), abstract_state)
    saved = checkpoints.restore(abstract_state)
    checkpoints.close()
    if saved is None:
        raise UserError(f"no checkpoint of trial {folder.name} is sound: the same sweep again trains it anew")
    state, _ = saved
    variables = jax.tree.map(jnp.asarray, state.evaluated())
    if num_devices > 1:
        variables = bn_devices.averaged(variables)
    return Trained(config, module, variables, int(state.step), _classes(config))


def of_weights(config: ConfigDict, path: str) -> Trained:
    """The network of a config with the weights of Keras, torchvision or timm.

    Padding, crop, filter and range of pixels are those of their source, unless the config sets them.

    Raises:
      UserError: the file cannot be read or does not fit the network, or the data are missing.
    """
    overrides = {"train.init_from": path, "train.epochs": 0.0}
    if config.data.crop == "inception":
        overrides["data.image_size"] = config.input_size  # the host resizes once, with the filter of the source
    config = inputs.settle(config, overrides)
    inputs.prepare(config)
    module = registry.build(config.model)
    variables = recipes.load(path, module, recipes.abstract_variables(module, config.data.channels))
    return Trained(config, module, variables, 0, _classes(config))


def _classes(config: ConfigDict) -> tuple[str, ...]:
    return tuple(config.data.get("class_names") or map(str, range(config.model.num_classes)))


@contextlib.contextmanager
def _kept_class(folder: TrialFolder, config: ConfigDict) -> Iterator[type | None]:
    """The class of a network of one's own, as its trial was started with it; None for a network of ours."""
    model = config.model
    if not model.get("fingerprint"):
        yield None
        return
    kept = folder.workdir().source_path(model.source)
    with registry.deaf(), data_sets.deaf(), _tfds_deaf(), own.loaded(model.path, model.spec, kept) as cls:
        if source_of(cls).digest != model.source:
            raise UserError(f"{kept} is not what trial {folder.name} was started with: it was changed")
        registry.options(cls)  # read while the modules of its annotations are there
        yield cls


def _tfds_deaf() -> contextlib.AbstractContextManager:
    """TFDS takes a builder of a name once; the file of a network may hold one, too."""
    tfds = sys.modules.get("tensorflow_datasets")
    return tfds.core.registered.skip_registration() if tfds else contextlib.nullcontext()


def _encoded(image, data) -> bytes:
    """The bytes of an image as the prepared data set would hold them."""
    if not isinstance(image, str | bytes | os.PathLike | np.ndarray | jax.Array):
        raise UserError(f"an image must be a path, encoded bytes or a uint8 array, not {type(image).__name__}")
    from mnet_jax.data import own, stored

    if isinstance(image, np.ndarray | jax.Array):
        pixels = np.asarray(image)
        is_image = pixels.ndim in (2, 3) and 0 not in pixels.shape and pixels.shape[2:] in ((), (1,), (3,), (4,))
        if pixels.dtype != np.uint8 or not is_image:
            raise UserError(f"an image must be uint8 (height, width[, 1, 3 or 4]), not {pixels.dtype} {pixels.shape}")
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(file, "PNG")
        image = file.getvalue()
    name = "an image" if isinstance(image, bytes) else os.fspath(image)
    try:
        encoded = image if isinstance(image, bytes) else pathlib.Path(image).read_bytes()
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}") from error
    if not own.is_own(data) or own.is_builder(data):
        return encoded
    turn = data.exif_orientation is not False  # a file beside arrays, which state nothing, is what a viewer shows
    return stored.as_stored(encoded, name, turn)
