"""The process of one input pipeline; see `benchmarks.input_pipeline`.

    python -m benchmarks.contenders.inputs NAME FOLDER BATCH_SIZE SIDE

says on standard output when it is ready; then, for each line that it reads, makes so many batches and says how many
seconds they took.
"""

import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator

_READ_AHEAD = 8  # batches that are not measured, so that what was decoded before a turn does not count in it


def ours(folder: pathlib.Path, batch_size: int, side: int, cache_side: int | None = None) -> Iterator:
    """The batches of `mnet_jax.data.stream`."""
    from mnet_jax import presets
    from mnet_jax.config.resolve import resolve
    from mnet_jax.data import cache, stream
    from mnet_jax.devices.mesh import make_mesh

    config = presets.get("imagenet")
    config.data.update(source_dir=str(folder), data_dir=str(folder / "tfds"), image_size=side, cache_side=cache_side)
    config.model.num_classes = 2
    config.train.batch_size = batch_size
    config = resolve(config)
    cache.check(config.data, ("train_split",))
    batches = stream.open_stream(config, "train", make_mesh())
    return batches.training_batches(batch_size, 0, 1_000_000)


def cached(folder: pathlib.Path, batch_size: int, side: int) -> Iterator:
    return ours(folder, batch_size, side, cache_side=256)


def tf_data(folder: pathlib.Path, batch_size: int, side: int, **decoding) -> Iterator:
    """As in TensorFlow's own ImageNet examples: decode and crop in one, resize, all in parallel."""
    import tensorflow as tf

    paths = sorted(map(str, (folder / "train").rglob("*.JPEG")))

    def example(path):
        encoded = tf.io.read_file(path)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(encoded),
            bounding_boxes=tf.zeros([1, 0, 4]),
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.1, 1.0),
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        window = tf.stack([begin[0], begin[1], size[0], size[1]])
        pixels = tf.image.decode_and_crop_jpeg(encoded, window, channels=3, **decoding)
        return tf.cast(tf.image.resize(pixels, (side, side)), tf.uint8)

    data = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()
    return iter(data.map(example, tf.data.AUTOTUNE).batch(batch_size).prefetch(tf.data.AUTOTUNE))


def tf_data_fast(folder: pathlib.Path, batch_size: int, side: int) -> Iterator:
    """With libjpeg-turbo's fast options."""
    return tf_data(folder, batch_size, side, dct_method="INTEGER_FAST", fancy_upscaling=False)


PIPELINES = {"ours": ours, "ours_cached_256": cached, "tf_data": tf_data, "tf_data_fast": tf_data_fast}


def _versions(*names: str) -> dict[str, str]:
    return {name: str(sys.modules[name].__version__) for name in names if name in sys.modules}


def main(name: str, folder: str, batch_size: str, side: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    batches = PIPELINES[name](pathlib.Path(folder), int(batch_size), int(side))
    next(batches)
    print(json.dumps(_versions("jax", "grain", "simplejpeg", "cv2", "tensorflow")), file=answers, flush=True)
    for line in sys.stdin:
        for _ in range(_READ_AHEAD):
            next(batches)
        start = time.perf_counter()
        for _ in range(int(line)):
            next(batches)
        print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
