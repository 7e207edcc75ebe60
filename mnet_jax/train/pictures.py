"""What a network that segments sees in images of the test split, beside their masks, as pictures to look at."""

import io
import pathlib
from typing import Any

import jax
import numpy as np
from PIL import Image

from mnet_jax.data.masks import VOID
from mnet_jax.data.stream import open_stream
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.models.ops.aligned_corners import resize_aligned
from mnet_jax.train.tasks.registry import task_of
from mnet_jax.train.trained import Trained
from mnet_jax.workdir.whole import write_bytes

_GAP = 4  # white pixels between the three


def draw(network: Trained, folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """Writes the first images of the test split as `0000.png` and so on: the image, its mask, what is predicted.

    Classes have the colours of PASCAL VOC's palette (Everingham et al., 2010), void is that of its rims, also where
    something is predicted there.

    Args:
      network: that segments.
      folder: is made.
      count: of pictures; as many as there are images, at most.

    Raises:
      UserError: the data are missing.
    """
    config, mesh = network.config, make_mesh()
    stream = open_stream(config, config.data.test_split, mesh)
    batch_size = -(-min(count, config.train.batch_size) // mesh.size) * mesh.size
    task = task_of(config)

    @jax.jit
    def predicted(variables: Any, batch: Any) -> jax.Array:
        def apply(images: jax.Array) -> jax.Array:
            return network.module.apply(variables, images, train=False)

        logits = task.predict(apply, batch, config.model.name)
        return resize_aligned(logits, *batch["label"].shape[1:3]).argmax(axis=-1)

    colours, paths = palette(), []
    for batch in stream.evaluation_batches(batch_size):
        found = np.asarray(predicted(network.variables, batch))
        batch = jax.device_get(batch)
        for image, mask, is_there, own in zip(
            *(batch[name] for name in ("image", "label", "mask")), found, strict=True
        ):
            if not is_there:
                continue
            rows, columns = np.nonzero(mask != VOID)
            part = slice(rows.max(initial=0) + 1), slice(columns.max(initial=0) + 1)  # beyond it is padding
            truth, own = colours[mask[part]], colours[np.where(mask == VOID, VOID, own)[part]]
            shown = np.broadcast_to(image[part], truth.shape)
            gap = np.full((len(truth), _GAP, 3), 255, np.uint8)
            paths.append(folder / f"{len(paths):04}.png")
            _write(paths[-1], np.concatenate([shown, gap, truth, gap, own], axis=1))
            if len(paths) == count:
                return paths
    return paths


def palette() -> np.ndarray:
    """The colours of 256 labels in VOC's PNG files, (256, 3) uint8: a label's bits, in turn those of three channels."""
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((labels >> (3 * place + channel)) & 1).astype(np.uint8) << (7 - place)
    return colours


def _write(path: pathlib.Path, pixels: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, file.getvalue())
