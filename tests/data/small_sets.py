"""Small data sets of one's own, and what a prepared copy holds."""

import numpy as np

from mnet_jax.data import decode, sources


def digits(count=12, shape=(8, 8, 3), num_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % num_classes


def held(data, split):
    source = sources.open_split(data, split)
    examples = source.__getitems__(range(len(source)))
    return {decode.whole(example["image"], data.channels).tobytes(): example["label"] for example in examples}


BUILDER = """
import io
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

GRAY = {gray}

class Flowers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("{version}")

    def _info(self):
        features = {{"image": tfds.features.Image(shape=(8, 8, 1)), "label": tfds.features.ClassLabel(num_classes=2)}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples(4), "test": self._generate_examples(2)}}

    def _generate_examples(self, count):
        for i in range(count):
            file = io.BytesIO()
            Image.fromarray(np.full((8, 8), GRAY, np.uint8)).save(file, "PNG")
            file.seek(0)
            yield i, {{"image": file, "label": i % 2}}
"""
