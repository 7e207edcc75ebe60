"""JPEGs to decode: noise whose power falls with frequency as that of photographs does, sorted like ImageNet."""

import io
import pathlib

import numpy as np
from PIL import Image

_DISTINCT = 32  # pictures that are drawn; files repeat them
_EXPONENT = 1.2  # of the amplitude's fall; a 512 x 384 JPEG of quality 90 then has 94 kB


def write_folder(folder: pathlib.Path, count: int, width: int, height: int, quality: int) -> None:
    """Writes `train/<class>/*.JPEG` with `count` pictures in two classes, and `val/` with an eighth as many."""
    rng = np.random.default_rng(0)
    encoded = [_jpeg(_picture(height, width, rng), quality) for _ in range(min(_DISTINCT, count))]
    for split, number in (("train", count), ("val", max(2, count // 8))):
        for i in range(number):
            path = folder / split / f"n{i % 2:08d}" / f"{i:06d}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded[i % len(encoded)])


def _picture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width)[np.newaxis])
    frequency[0, 0] = 1
    gray = rng.standard_normal((height, width))
    channels = []
    for _ in range(3):
        noise = np.fft.rfft2(gray + 0.3 * rng.standard_normal((height, width)))
        channel = np.fft.irfft2(noise / frequency**_EXPONENT, s=(height, width))
        channels.append(120 + 50 * (channel - channel.mean()) / channel.std())
    return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()
