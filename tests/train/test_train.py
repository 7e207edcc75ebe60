import logging
import shutil

import jax
import numpy as np
import pytest

from mnet_jax import evaluate
from mnet_jax.config.dotted import from_json
from mnet_jax.config.resolve import resolve
from mnet_jax.data import cache
from mnet_jax.data.stream import ResidentStream
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.pretrained import recipes
from mnet_jax.train import loop
from mnet_jax.train.checkpoint import Checkpoints
from mnet_jax.train.compiled import CompiledSteps
from mnet_jax.train.trained import load
from mnet_jax.train.units import Alone
from mnet_jax.workdir.files import TrialFolder
from tests import foreign_weights
from tests.conftest import make_tiny
from tests.trials import StopAfter, final_state, folder_of, scores

TO_THE_END = 22  # looks of a trial until it evaluates its test split: 4 at the start, 12 steps, 6 validation batches


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data_dir):
    """The folder of a trial that was trained without interruption."""
    folder = folder_of(tmp_path_factory.mktemp("alone") / "alone", make_tiny(data_dir))
    loop.train([folder], Interruption())
    return folder


def test_a_trial_leaves_its_result_metrics_and_status(alone):
    assert (alone.status(), alone.error()) == ("done", None)
    result = alone.result()
    assert result["steps"] == 12
    assert result["test_images"] == 100
    assert 0 <= result["top1"] <= result["top5"] <= 1
    assert result["images_per_second"] > 0
    assert {"mnet_jax", "jax", "flax", "numpy"} <= result["versions"].keys()
    assert {"commit", "is_dirty"} <= result.keys()
    rows = alone.metrics()
    assert [row["step"] for row in rows if "learning_rate" in row] == [2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in rows if "top1" in row] == [4, 8, 12]
    losses = [row["loss"] for row in rows if "learning_rate" in row]
    assert losses[-1] < losses[0], "three epochs must teach it something"


def kept_bits(folder):
    """Which test images a trial has right, as its folder says."""
    with np.load(folder.predictions_path) as file:
        return np.unpackbits(file["correct"], count=int(file["num_images"])).astype(bool)


def test_a_trial_keeps_which_images_are_right_in_the_order_of_the_split(alone):
    """Against the logits of its network, image by image; the last batch of the split is padded."""
    trained = load(alone)
    source = cache.open_split(trained.config.data, trained.config.data.test_split)
    examples = source.__getitems__(range(len(source)))
    guesses = trained.logits([example["image"] for example in examples]).argmax(-1)
    bits = kept_bits(alone)
    assert bits.tolist() == [int(guess) == example["label"] for guess, example in zip(guesses, examples, strict=True)]
    assert bits.mean() == pytest.approx(alone.result()["top1"])
    assert evaluate.of_trial(alone)["correct"].tolist() == bits.tolist(), "evaluating the checkpoint finds the same"


def test_bits_are_written_before_the_result_which_makes_the_trial_done(alone, tmp_path, tiny, monkeypatch):
    """Where writing them fails, the trial is not done, and the same command makes both again."""
    folder = folder_of(tmp_path / "trial", tiny)

    def refuse(self, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(TrialFolder, "set_predictions", refuse)
        loop.train([folder], Interruption())
    assert folder.status() == "failed"
    assert folder.result() == {}
    loop.train([folder], Interruption())
    assert scores(folder) == scores(alone)
    assert kept_bits(folder).tolist() == kept_bits(alone).tolist()


def test_bits_that_are_lost_leave_the_trial_done(alone, tmp_path):
    copy = shutil.copytree(alone.path, tmp_path / "copy")
    (copy / "predictions.npz").unlink()
    assert TrialFolder(copy).status() == "done"
    assert TrialFolder(copy).result() == alone.result()


@pytest.mark.parametrize("looks", [2, 6, 11, 15, 20])
def test_resuming_equals_never_having_stopped(alone, tmp_path, tiny, looks):
    """Bit for bit, wherever it was stopped: in training, in an evaluation, at the very end."""
    stopped = folder_of(tmp_path / "stopped", tiny)
    with pytest.raises(Interrupted, match="SIGTERM"):
        loop.train([stopped], StopAfter(looks))
    assert stopped.status() == "queued"
    assert "stopped by SIGTERM at step" in stopped.error()
    before = Checkpoints(stopped.checkpoints_path).latest_step()
    loop.train([stopped], Interruption())
    assert stopped.status() == "done"
    assert scores(stopped) == scores(alone)
    evaluations = [[row for row in f.metrics() if "top1" in row] for f in (alone, stopped)]
    assert evaluations[0] == evaluations[1]
    expected, ours = final_state(alone), final_state(stopped)
    assert expected.keys() == ours.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=f"{key} differs after resuming from step {before}")


def test_trials_on_one_stream_end_as_if_alone(alone, tmp_path, tiny):
    narrow = folder_of(tmp_path / "narrow", tiny)
    small = folder_of(tmp_path / "small", tiny, input_size=12)
    loop.train([narrow, small], Interruption())
    assert scores(narrow) == scores(alone)
    assert small.status() == "done"
    expected, ours = final_state(alone), final_state(narrow)
    for key, value in expected.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)


def test_trials_that_got_to_different_steps_go_on_together(alone, tmp_path, tiny):
    ahead, fresh = folder_of(tmp_path / "ahead", tiny), folder_of(tmp_path / "fresh", tiny)
    with pytest.raises(Interrupted):
        loop.train([ahead], StopAfter(9))
    loop.train([ahead, fresh], Interruption())
    assert scores(ahead) == scores(fresh) == scores(alone)


def test_trials_that_lack_nothing_but_the_test_split_go_on_together(alone, tmp_path, tiny):
    """Their steps need not be compiled again; their evaluation must be, however many there are."""
    folders = [folder_of(tmp_path / str(size), tiny, input_size=size) for size in (16, 12, 14)]
    for folder in folders:
        with pytest.raises(Interrupted):
            loop.train([folder], StopAfter(TO_THE_END))
        assert Checkpoints(folder.checkpoints_path).latest_step() == 12
    loop.train(folders, Interruption())
    assert [(folder.status(), folder.error()) for folder in folders] == [("done", None)] * 3
    assert scores(folders[0]) == scores(alone)


def test_a_trial_keeps_the_names_of_its_classes(tmp_path, tiny, alone):
    assert "classes" not in alone.result()
    config = resolve(tiny).unlock()
    config.data.class_names = tuple("abcdefghij")
    config.train.epochs = 0.0
    folder = TrialFolder(tmp_path / "named")
    folder.create(config.to_dict())
    loop.train([folder], Interruption())
    assert folder.result()["classes"] == list("abcdefghij")


def test_a_diverging_and_a_raising_trial_are_recorded_and_the_other_goes_on(tmp_path, tiny, alone, monkeypatch):
    tiny.optim.warmup_epochs = 0.0
    diverging = folder_of(tmp_path / "diverging", tiny, optim__learning_rate=1e30)
    raising = folder_of(tmp_path / "raising", tiny, input_size=12)
    tiny.optim.warmup_epochs = 1.0
    healthy = folder_of(tmp_path / "healthy", tiny)
    update = Alone.update

    def raise_at_step_5(self, batch):
        if raising in self.folders and self.step == 5:
            raise RuntimeError("the device is on fire")
        return update(self, batch)

    monkeypatch.setattr(Alone, "update", raise_at_step_5)
    loop.train([diverging, raising, healthy], Interruption())
    assert diverging.status() == "diverged"
    assert "the loss of step" in diverging.error()
    assert Checkpoints(diverging.checkpoints_path).latest_step() in (None, 0)
    assert (raising.status(), raising.error()) == ("failed", "RuntimeError: the device is on fire")
    assert scores(healthy) == scores(alone)


def test_batches_that_only_a_dropped_trial_lacked_are_not_made(tmp_path, tiny, alone, monkeypatch):
    ahead = folder_of(tmp_path / "ahead", tiny)
    with pytest.raises(Interrupted):
        loop.train([ahead], StopAfter(15))
    first = ahead.saved_step()
    assert first >= 6
    tiny.optim.warmup_epochs = 0.0
    diverging = folder_of(tmp_path / "diverging", tiny, optim__learning_rate=1e30)
    made, batches = [], ResidentStream.training_batches

    def noted(self, batch_size, first_step, last_step):
        for step, batch in enumerate(batches(self, batch_size, first_step, last_step), first_step):
            made.append(step)
            yield batch

    monkeypatch.setattr(ResidentStream, "training_batches", noted)
    loop.train([ahead, diverging], Interruption())
    assert diverging.status() == "diverged"
    assert scores(ahead) == scores(alone)
    assert made[-(12 - first) :] == list(range(first, 12))
    before = made[: -(12 - first)]
    assert before == list(range(len(before)))
    assert 1 < len(before) < first


def exhausted(*_):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 3221225472 bytes.")


def test_where_memory_runs_out_the_group_leaves_with_what_can_be_saved(tmp_path, tiny, alone, monkeypatch):
    """The launcher halves it. None has failed: alone it may fit."""
    greedy, modest = folder_of(tmp_path / "greedy", tiny, input_size=12), folder_of(tmp_path / "modest", tiny)
    update = Alone.update

    def exhausted_at_step_5(self, batch):
        return exhausted() if greedy in self.folders and self.step == 5 else update(self, batch)

    monkeypatch.setattr(Alone, "update", exhausted_at_step_5)
    with pytest.raises(loop.OutOfMemory, match="RESOURCE_EXHAUSTED"):
        loop.train([greedy, modest], Interruption())
    assert [folder.status() for folder in (greedy, modest)] == ["running"] * 2
    assert modest.saved_step() == 5, "the order in which trials are stepped is that of the list"
    loop.train([greedy], Interruption())
    assert greedy.status() == "failed", "alone it can be no one else's fault"
    assert greedy.error().startswith("JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory")
    monkeypatch.undo()
    for folder in (greedy, modest):
        loop.train([folder], Interruption())
        assert folder.status() == "done"
    assert scores(modest) == scores(alone)


def test_memory_that_runs_out_in_the_stream_ends_a_group_too(tmp_path, tiny, monkeypatch):
    folders = [folder_of(tmp_path / name, tiny) for name in "ab"]
    monkeypatch.setattr(loop, "open_stream", exhausted)
    with pytest.raises(loop.OutOfMemory):
        loop.train(folders, Interruption())
    loop.train(folders[:1], Interruption())
    assert [folder.status() for folder in folders] == ["failed", "queued"]


def test_a_damaged_checkpoint_costs_steps_and_no_number(alone, tmp_path, tiny, caplog):
    """The one before is gone on from; where none is left, the trial begins again and says so."""
    caplog.set_level(logging.INFO)
    for name, damaged in (("one", 1), ("both", 2)):
        folder = folder_of(tmp_path / name, tiny)
        with pytest.raises(Interrupted):
            loop.train([folder], StopAfter(11))
        steps = sorted(int(path.name) for path in folder.checkpoints_path.iterdir())
        assert len(steps) == 2
        for step in steps[-damaged:]:
            (folder.checkpoints_path / str(step) / "state" / "manifest.ocdbt").write_bytes(b"")
        caplog.clear()
        loop.train([folder], Interruption())
        assert scores(folder) == scores(alone)
        assert f"{name}: {folder.checkpoints_path / str(steps[-1])} is damaged and now named" in caplog.text
        expected = f"resumed from step {steps[0]} of 12" if damaged == 1 else "no checkpoint is left"
        assert f"{name}: {expected}" in caplog.text
        final, ours = final_state(alone), final_state(folder)
        for key, value in final.items():
            np.testing.assert_array_equal(ours[key], value, err_msg=key)


def test_a_checkpoint_of_another_network_fails_its_trial_alone(tmp_path, tiny, alone):
    other, healthy = folder_of(tmp_path / "other", tiny, model__alpha=0.5), folder_of(tmp_path / "healthy", tiny)
    with pytest.raises(Interrupted):
        loop.train([other], StopAfter(9))
    other.create(resolve(tiny).to_dict())
    loop.train([other, healthy], Interruption())
    assert other.status() == "failed"
    assert " is of another network: params/" in other.error()
    assert scores(healthy) == scores(alone)


@pytest.mark.slow
def test_the_imagenet_path_trains_evaluates_and_resumes_bit_for_bit(tmp_path, tiny_imagenet):
    """JPEG folders through TFDS, Grain, Inception crops, bfloat16, RMSProp and moving averages."""
    whole, stopped = folder_of(tmp_path / "whole", tiny_imagenet), folder_of(tmp_path / "stopped", tiny_imagenet)
    loop.train([whole], Interruption())
    assert whole.result()["test_images"] == 48
    assert whole.result()["top5"] == 1.0, "there are but three classes"
    with pytest.raises(Interrupted):
        loop.train([stopped], StopAfter(5))
    loop.train([stopped], Interruption())
    assert scores(stopped) == scores(whole)
    expected, ours = final_state(whole), final_state(stopped)
    assert any("ema" in key for key in expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)


@pytest.mark.slow
def test_the_command_trains_the_configs_own_values(tmp_path, data_dir, command):
    """One trial, the axes ignored; again: nothing is left to do."""
    arguments = ["--config", "tests/tiny_sweep.py", "--config.train.epochs=1", "--workdir", tmp_path]
    outputs = []
    for _ in range(2):
        done = command("mnet_jax.train", *arguments, env_extra={"TINY_DATA_DIR": data_dir})
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    (path,) = (tmp_path / "trials").iterdir()
    assert path.name.startswith("base-")
    assert (path / "log.txt").read_text().count("compiled the steps of 1 networks for 1 trials") == 1
    assert outputs[0] == outputs[1]
    assert "top1" in outputs[0]


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path, tiny):
    folder = folder_of(tmp_path / "odd", tiny)

    class Mesh:
        size = 3

    with pytest.raises(UserError, match="batch_size=64: must be a multiple of the 3 devices"):
        CompiledSteps(from_json(folder.config_text()), 256, Mesh, None)


@pytest.fixture
def imported(tmp_path, tiny):
    """An unlocked config that starts from a Keras file with 12 classes, and the variables of the file."""
    _, variables = foreign_weights.make("mobilenet_v1", channels=1, num_classes=12, alpha=0.25)
    tiny.train.init_from = foreign_weights.write_keras(tmp_path / "w.h5", variables)
    tiny.train.ema_decay = 0.99
    return tiny, variables


def test_imported_weights_are_the_first_state_with_a_fresh_head(tmp_path, imported):
    config, variables = imported
    with pytest.raises(Interrupted):
        loop.train([folder := folder_of(tmp_path / "trial", config)], StopAfter(4))
    state = final_state(folder)
    config.train.init_from = None
    fresh = folder_of(tmp_path / "fresh", config)
    with pytest.raises(Interrupted):
        loop.train([fresh], StopAfter(4))
    untrained = final_state(fresh)
    assert len(variables) > 100
    for key, value in variables.items():
        ours = "".join(f"['{name}']" for name in key.split("/"))
        expected = untrained[ours] if "logits" in key else value
        np.testing.assert_array_equal(state[ours], expected, err_msg=key)
        np.testing.assert_array_equal(state[f"['ema']{ours}"], expected, err_msg=key)


def test_imported_weights_train_and_resume_bit_for_bit(tmp_path, imported):
    config, _ = imported
    whole, stopped = folder_of(tmp_path / "whole", config), folder_of(tmp_path / "stopped", config)
    loop.train([whole], Interruption())
    with pytest.raises(Interrupted):
        loop.train([stopped], StopAfter(9))
    loop.train([stopped], Interruption())
    assert whole.status() == "done"
    assert scores(stopped) == scores(whole)


def test_no_epochs_evaluate_the_imported_weights(tmp_path, imported):
    config, _ = imported
    config.train.epochs = 0.0
    with pytest.raises(UserError, match=r"shape \(256, 12\), expected \(256, 10\)"):
        recipes.check(resolve(config))
    _, variables = foreign_weights.make("mobilenet_v1", channels=1, num_classes=10, alpha=0.25)
    config.train.init_from = foreign_weights.write_keras(tmp_path / "ten.h5", variables)
    folder = folder_of(tmp_path / "trial", config)
    loop.train([folder], Interruption())
    result = folder.result()
    assert folder.status() == "done", folder.error()
    assert (result["steps"], result["images_per_second"], result["test_images"]) == (0, None, 100)
    again = evaluate.of_weights(config, config.train.init_from)
    assert again.pop("correct").tolist() == evaluate.of_trial(folder)["correct"].tolist()
    assert {key: again[key] for key in ("top1", "top5", "loss")} == {
        key: result[key] for key in ("top1", "top5", "loss")
    }
    assert evaluate.of_trial(folder).items() >= (again | {"step": 0}).items()
