import io
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds

from mnet_jax.data import checks, sources
from mnet_jax.data.facts import Facts, facts
from mnet_jax.errors import UserError
from tests.conftest import REPOSITORY


def test_built_in_data_sets_are_known_before_they_are_there(own):
    mnist, fashion, cifar = (
        facts(own(name, source_dir="/nonexistent")) for name in ("mnist5k", "fashion_mnist", "cifar10")
    )
    assert mnist == Facts(tuple("0123456789"), 10, 28, 1)
    assert (fashion.num_classes, fashion.image_size, fashion.channels) == (10, 28, 1)
    assert (fashion.class_names[0], fashion.class_names[9]) == ("T-shirt/top", "Ankle boot")
    assert (cifar.num_classes, cifar.image_size, cifar.channels) == (10, 32, 3)
    assert (cifar.class_names[0], cifar.class_names[9]) == ("airplane", "truck")


def test_facts_of_a_built_in_data_set_are_those_of_its_prepared_copy(own):
    data = own("mnist5k", image_size=28, channels=1, crop="none")
    known, features = facts(data), sources.prepare(data).info.features
    assert features["image"].shape == (known.image_size, known.image_size, known.channels)
    assert features["label"].num_classes == known.num_classes
    assert checks.summary(data) == (
        "data set mnist5k: 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), 3,500 train, 500 validation, 1,000 test images"
    )


def test_imagenet_is_known_where_its_folder_is(own, tmp_path):
    assert facts(own("imagenet")) == facts(own("imagenet", source_dir=str(tmp_path / "gone"))) == Facts()
    for split in ("train", "val"):
        for name in ("n02", "n01"):
            (tmp_path / split / name).mkdir(parents=True)
    assert facts(own("imagenet", source_dir=str(tmp_path))) == Facts(("n01", "n02"), 2)
    (tmp_path / "val" / "n03").mkdir()
    assert facts(own("imagenet_validation", source_dir=str(tmp_path))).num_classes == 3
    with pytest.raises(UserError, match="train lacks class 'n03' of"):
        facts(own("imagenet", source_dir=str(tmp_path)))


class TfdsFlowers(tfds.core.GeneratorBasedBuilder):
    """A data set that TFDS knows by name."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(8, 8, 1)), "label": tfds.features.ClassLabel(names=["a", "b"])}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"image": io.BytesIO(b"a PNG"), "label": 0}


def test_a_data_set_of_tfds_is_known_once_it_is_prepared(own, tmp_path):
    data = own("mnist5k", tfds_name="tfds_flowers")
    assert facts(data) == Facts()
    TfdsFlowers(data_dir=data.data_dir, file_format="array_record").download_and_prepare()
    assert facts(data) == Facts(("a", "b"), 2, 8, 1)
    assert checks.summary(data) == "data set tfds_flowers: 2 classes (a, b), 1 train images"
    with pytest.raises(UserError, match="TFDS has no such data set"):
        facts(own("mnist5k", tfds_name="no_such_data_set"))


def test_reading_a_config_loads_no_library_that_reads_images():
    script = (
        "import sys; from ml_collections import ConfigDict;"
        "from mnet_jax.data import facts, image_folder, own, registry;"
        "registry.register_dataset('mine', dict); registry.known();"
        "facts.facts(ConfigDict(dict(name='mnist5k', tfds_name=None)));"
        "print(sorted({'tensorflow_datasets', 'cv2', 'h5py', 'grain', 'jax', 'orbax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
