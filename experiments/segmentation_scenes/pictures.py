"""The first six test scenes: image, mask, and what alpha 1, 0.5 and 0.25 see without atrous convolutions.

    python -m mnet_jax.evaluate --workdir runs/segmentation --pictures 6
    python experiments/segmentation_scenes/pictures.py runs/segmentation experiments/segmentation_scenes/pictures.png

The first command draws them one by one; this one sets them side by side.
"""

import pathlib
import sys

import numpy as np
from PIL import Image

_STEP = 100  # pixels from the image to its mask and from that to the prediction, in a picture


def main(workdir: str, target: str) -> None:
    trials = [next(pathlib.Path(workdir, "trials").glob(f"alpha={alpha},aspp=False-*")) for alpha in (1.0, 0.5, 0.25)]
    columns = []
    for i in range(6):
        pictures = [np.asarray(Image.open(trial / f"pictures/{i:04}.png").convert("RGB")) for trial in trials]
        side = len(pictures[0])
        given = [pictures[0][:, start : start + side] for start in (0, _STEP)]
        seen = [picture[:, 2 * _STEP :] for picture in pictures]
        columns.append(np.concatenate([framed(tile) for tile in given + seen]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(target)


def framed(tile: np.ndarray) -> np.ndarray:
    return np.pad(tile, ((0, 4), (0, 4), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main(*sys.argv[1:])
