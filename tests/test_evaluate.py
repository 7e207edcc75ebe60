import itertools
import json
import runpy

import jax
import numpy as np
import pytest
from flax import traverse_util

from mnet_jax import evaluate
from mnet_jax.data import checks, decode, sources
from mnet_jax.data.sources import split_fields
from mnet_jax.devices.signals import Interruption
from mnet_jax.errors import UserError
from mnet_jax.pretrained import recipes
from mnet_jax.sweep.grid import expand
from mnet_jax.train import loop
from mnet_jax.train.inputs import settle
from mnet_jax.workdir.files import TrialFolder, Workdir
from tests import foreign_weights
from tests.conftest import REPOSITORY


@pytest.fixture
def weights(tmp_path):
    """A Keras file of a V1 0.25 with 3 classes, its model, and its variables."""
    model, variables = foreign_weights.make(num_classes=3, alpha=0.25, padding="keras_v1")
    return (
        foreign_weights.write_keras(tmp_path / "w.h5", variables),
        model,
        traverse_util.unflatten_dict(variables, sep="/"),
    )


def test_weights_are_evaluated_as_their_source_prepares_images(weights, tiny_imagenet):
    """Against a loop over the pictures: crop and filter of TF-slim, pixels in [-1, 1], each image once."""
    path, model, variables = weights
    tiny_imagenet.model.update(total_stride=32, dtype="float32")
    tiny_imagenet.input_size = 33
    scores = evaluate.of_weights(tiny_imagenet, path)
    config = settle(tiny_imagenet, {"train.init_from": path, "train.epochs": 0.0, "data.image_size": 33})
    assert (config.data.eval_crop, config.data.eval_filter) == ("central", "tf_bilinear")
    source = sources.open_split(config.data, "validation")
    examples = source.__getitems__(range(len(source)))
    pixels = np.stack([decode.evaluation_crop(example["image"], config.data) for example in examples])
    logits = np.asarray(jax.jit(model.apply)(variables, pixels / np.float32(127.5) - 1))
    labels = np.array([example["label"] for example in examples])
    assert scores["count"] == 48
    assert scores["top1"] == pytest.approx((logits.argmax(-1) == labels).mean())
    shifted = logits - logits.max(-1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(48), labels]
    assert scores["loss"] == pytest.approx(loss.mean(), rel=1e-4)


def test_the_published_sweep_evaluates_each_file_at_its_own_size(tmp_path, tiny_imagenet, monkeypatch):
    """The 16 trials of the config, two of them run, on small pictures with the validation folder alone."""
    for file in (tmp_path / "raw" / "train").rglob("*.JPEG"):
        file.unlink()
    monkeypatch.chdir(REPOSITORY)
    published = runpy.run_path("configs/published_v1.py")
    config = published["get_config"]()
    config.model.num_classes = 3
    config.data.update(image_size=56, data_dir=str(tmp_path / "tfds"), source_dir=str(tmp_path / "raw"))
    config.train.batch_size = 16
    config.options.weights_dir = str(tmp_path)
    with pytest.raises(UserError, match=r"lacks 16 of 16 files: mobilenet_1_0_56_tf\.h5, .*keras-applications"):
        expand(config, published["sweep"](config))
    names = published["ALPHA_IN_NAME"]
    for alpha, text in names.items():
        _, variables = foreign_weights.make(num_classes=3, alpha=alpha)
        for size in (56, 48, 40, 32):
            foreign_weights.write_keras(tmp_path / f"mobilenet_{text}_{size}_tf.h5", variables)
    trials = expand(config, published["sweep"](config))
    assert len(trials) == 16
    assert {(t.model.alpha, t.input_size, t.data.image_size) for t in trials.values()} == {
        (alpha, size, size) for alpha, size in itertools.product(names, (56, 48, 40, 32))
    }
    for name, trial in list(trials.items())[-2:]:
        recipes.check(trial)
        checks.check(trial.data, split_fields(trial))
        folder = TrialFolder(tmp_path / name)
        folder.create(trial.to_dict())
        loop.train([folder], Interruption())
        assert folder.status() == "done", folder.error()
        assert (folder.result()["test_images"], folder.result()["steps"]) == (48, 0)


def test_a_workdir_without_a_sweep_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no sweep was started there"):
        evaluate._of_workdir(Workdir(tmp_path))


def test_a_trial_without_a_checkpoint_is_an_error(tmp_path, tiny):
    folder = TrialFolder(tmp_path / "trial")
    folder.create(settle(tiny).to_dict())
    with pytest.raises(UserError, match="trial has no checkpoint yet"):
        evaluate.of_trial(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --weights FILE and --config FILE, or --workdir DIR"),
        (["--weights", "w.h5"], "--weights needs --config FILE"),
        (["--weights", "absent.h5", "--config", "configs/width.py"], "weights absent.h5: No such file"),
        (["--workdir", "/nonexistent"], "no sweep was started there"),
    ],
)
def test_a_mistake_ends_with_2_and_one_line(command, arguments, message):
    done = command("mnet_jax.evaluate", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.slow
def test_the_command_prints_one_json_object(weights, tiny_imagenet, command, tmp_path):
    path, *_ = weights
    done = command(
        "mnet_jax.evaluate", "--weights", path, "--config", "configs/width.py:imagenet", "--config.input_size=32",
        "--config.model.alpha=0.25", "--config.model.num_classes=3", f"--config.data.data_dir={tmp_path / 'tfds'}",
        f"--config.data.source_dir={tmp_path / 'raw'}", "--config.data.name=imagenet_validation",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert set(printed) == {"top1", "top5", "loss", "images"}
    assert (printed["top5"], printed["images"]) == (1.0, 48)
