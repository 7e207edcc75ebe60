"""What the data say of a config, and what of it the user chose."""

import textwrap

import numpy as np
import pytest
from PIL import Image

from mnet_jax.config.file import load
from mnet_jax.config.identity import identity, stream_key, trial_hash
from mnet_jax.errors import UserError
from mnet_jax.train import inputs
from mnet_jax.workdir.files import Workdir


@pytest.fixture
def file_with(tmp_path):
    """Loads a config file for a folder of gray squares of 64 pixels, with flags."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).save(tmp_path / "set" / name / f"{i}.png")
    (tmp_path / "config.py").write_text(
        textwrap.dedent(
            """
            from mnet_jax import presets

            def get_config(dataset="image_folder"):
                return presets.get(dataset)
            """
        )
    )

    def make(**flags):
        flags = {"data.source_dir": tmp_path / "set", "data.data_dir": tmp_path / "tfds"} | flags
        return load(tmp_path / "config.py", overrides=[(key, str(value)) for key, value in flags.items()])

    return make


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, (64, 64, 1)),
        ({"data.image_size": 224}, (224, 224, 1)),
        ({"data.image_size": 32}, (32, 32, 1)),
        ({"data.image_size": 32, "input_size": 224}, (32, 224, 1)),
        ({"input_size": 224}, (64, 224, 1)),
        ({"data.channels": 3}, (64, 64, 3)),
    ],
)
def test_a_flag_counts_also_where_it_says_what_the_preset_suggests(file_with, flags, expected):
    config = inputs.settle(file_with(**flags).config)
    assert (config.data.image_size, config.input_size, config.data.channels) == expected
    assert config.chosen == ()


def test_a_trial_is_the_order_of_its_classes_not_the_file_that_states_it(file_with, tmp_path):
    (tmp_path / "lists").mkdir()
    for name, text in (("sorted", "a\nb\n"), ("other", "b\na"), ("lists/same", "b\r\na\r\n\r\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    default, as_default, other, same = (
        inputs.settle(file_with(**flags).config)
        for flags in ({}, *({"data.classes": f"{name}.txt"} for name in ("sorted", "other", "lists/same")))
    )
    assert trial_hash(default) == trial_hash(as_default) != trial_hash(other) == trial_hash(same)
    assert "data.classes" not in identity(other)
    assert (default.data.class_names, other.data.class_names) == (("a", "b"), ("b", "a"))
    assert other.model.num_classes == 2
    with pytest.raises(UserError, match=r"cannot read \S+/absent\.txt: No such file"):
        inputs.settle(file_with(**{"data.classes": "absent.txt"}).config)


def test_the_order_of_imagenets_classes_counts_too(tiny_imagenet, tmp_path):
    tiny_imagenet.folder = str(tmp_path)
    names = tuple(sorted(path.name for path in (tmp_path / "raw" / "train").iterdir()))
    (tmp_path / "sorted.txt").write_text("\n".join(names))
    (tmp_path / "other.txt").write_text("\n".join(names[::-1]))
    default, as_default, other = (
        inputs.settle(tiny_imagenet, {"data.classes": name}) for name in (None, "sorted.txt", "other.txt")
    )
    assert trial_hash(default) == trial_hash(as_default) != trial_hash(other)
    assert (default.data.fingerprint, as_default.data.fingerprint) == (None, None)
    assert (as_default.data.class_names, other.data.class_names) == (names, names[::-1])
    for place in (None, str(tmp_path / "gone")):
        tiny_imagenet.data.source_dir = place
        with pytest.raises(UserError, match=r"'other.txt' orders the class folders of .*, where there are none"):
            inputs.settle(tiny_imagenet, {"data.classes": "other.txt"})


@pytest.mark.parametrize(("preset", "default"), [("image_folder", True), ("imagenet", False), ("mnist5k", False)])
def test_an_orientation_is_honoured_or_not_and_saying_the_default_says_nothing(file_with, tmp_path, preset, default):
    file = load(tmp_path / "config.py", preset)
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / "raw" / split / name).mkdir(parents=True)
    file.config.data.source_dir = str(tmp_path / ("set" if preset == "image_folder" else "raw"))
    unset, same, other = (
        inputs.settle(file.config, {"data.exif_orientation": value}) for value in (None, default, not default)
    )
    assert (unset.data.exif_orientation, other.data.exif_orientation) == (None, not default)
    assert (trial_hash(unset), stream_key(unset)) == (trial_hash(same), stream_key(same))
    assert (trial_hash(unset) == trial_hash(other)) is (preset == "mnist5k")


def test_one_class_is_none(file_with, tmp_path):
    file = file_with()
    (tmp_path / "set").rename(tmp_path / "images")
    (tmp_path / "set").mkdir()
    (tmp_path / "images").rename(tmp_path / "set" / "images")
    with pytest.raises(
        UserError, match=r"all images are of one class \(images\); .*must be the folder of the class fol"
    ):
        inputs.settle(file.config)


def test_a_workdir_does_not_become_a_class(file_with, tmp_path):
    config = inputs.settle(file_with().config)
    inputs.check_workdir(config, Workdir(tmp_path / "runs").path)
    with pytest.raises(UserError, match=r"--workdir='.*set/runs' is inside config\.data\.source_dir"):
        inputs.check_workdir(config, Workdir(tmp_path / "set" / "runs").path)


def test_a_home_directory_is_meant_by_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Workdir("~/runs").path == tmp_path / "runs"


def test_a_batch_of_more_images_than_there_are_is_refused(tiny):
    tiny.data.train_split = "train[:40]"
    inputs.prepare(inputs.settle(tiny, {"train.batch_size": 40}))
    with pytest.raises(UserError, match=r"batch_size=41: data set mnist5k has 40 training images .*batch_size=40"):
        inputs.prepare(inputs.settle(tiny, {"train.batch_size": 41}))


def test_what_trials_have_in_common_is_looked_at_once(tiny, monkeypatch):
    from mnet_jax.data import cache
    from mnet_jax.train import precise_bn

    data, networks = [], []
    check_data, check_network = cache.check, precise_bn.check
    monkeypatch.setattr(cache, "check", lambda *args: (data.append(args), check_data(*args)))
    monkeypatch.setattr(precise_bn, "check", lambda config: (networks.append(config), check_network(config)))
    tiny.train.precise_bn_images = 64
    trials = [
        inputs.settle(tiny, {"model.alpha": alpha, "seed": seed, "data.train_split": split})
        for alpha in (0.25, 0.5)
        for seed in (0, 1)
        for split in ("train[:64]", "train[:128]")
    ]
    inputs.prepare(*trials)
    assert (len(data), len(networks)) == (2, 2)
    with pytest.raises(UserError, match="batch_size=129"):
        inputs.prepare(*trials, inputs.settle(tiny, {"train.batch_size": 129, "data.train_split": "train[:128]"}))
