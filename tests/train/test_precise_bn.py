import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax import evaluate
from mnet_jax.config.resolve import resolve
from mnet_jax.data.augment import augment, standardize
from mnet_jax.data.stream import open_stream
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.models.layers import _BatchNorm
from mnet_jax.train import inputs, loop
from mnet_jax.train.precise_bn import joined, make_precise_step, num_batches
from mnet_jax.train.step import keys_of_step
from mnet_jax.train.trained import load
from tests.trials import StopAfter, assert_close, final_state, folder_of, scores

PRECISE = {"train__precise_bn_images": 150}  # two batches of 64


def test_joining_batches_gives_the_mean_and_the_variance_of_all_their_values():
    values = np.random.default_rng(0).normal(3, 2, (5, 40, 6)) + np.arange(5)[:, np.newaxis, np.newaxis]
    stats = {"bn": {"mean": np.full(6, 1e9, np.float32), "var": np.full(6, 1e9, np.float32)}, "other": np.float32(1e9)}
    for i, batch in enumerate(values):
        new = {"bn": {"mean": batch.mean(0), "var": batch.var(0)}, "other": np.float32(i)}
        stats = jax.jit(joined)(stats, jax.tree.map(np.float32, new), np.int32(i))
    np.testing.assert_allclose(stats["bn"]["mean"], values.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(stats["bn"]["var"], values.var((0, 1)), rtol=1e-5)
    assert float(stats["other"]) == pytest.approx(2)


class Normalised(nn.Module):
    """One normalisation that follows its batches slowly, and one that does not."""

    layer: type = nn.BatchNorm

    @nn.compact
    def __call__(self, x, train):
        x = self.layer(use_running_average=not train, momentum=0.9997, name="moving")(x)
        return nn.BatchNorm(use_running_average=True, name="frozen")(x)


@pytest.mark.parametrize("together", [8, 2])
@pytest.mark.parametrize("layer", [nn.BatchNorm, _BatchNorm], ids=["textbook", "fast"])
def test_statistics_are_those_of_the_images_whatever_the_momentum_is(small, layer, together):
    """Also where the training normalises fewer images together: each so many are a batch."""
    small.data.update(crop="none", mean=(0.2,), std=(0.3,))
    config, model = resolve(small, {"input_size": 28}), Normalised(layer)
    images = (
        np.random.default_rng(0).integers(0, 256, (3, 8, 28, 28, 1), np.uint8)
        // np.arange(1, 4)[:, None, None, None, None]
    )
    variables = jax.tree.map(
        lambda leaf: leaf + 5.0, model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)), train=False)
    )
    frozen = variables["batch_stats"]["frozen"]
    precise_step = jax.jit(make_precise_step(model, config, together))
    labels = np.zeros(8, np.int32)
    for step, part in enumerate(images.astype(np.uint8)):
        batch = {"image": part, "label": labels}
        stats = precise_step(variables, jax.random.PRNGKey(0), np.int32(step), batch)
        variables = {**variables, "batch_stats": stats}
    values = np.float64(standardize(jnp.asarray(images.reshape(24, 28, 28, 1), jnp.uint8), config.data, 28))
    np.testing.assert_allclose(stats["moving"]["mean"], [values.mean()], rtol=1e-4)
    np.testing.assert_allclose(stats["moving"]["var"], [values.var()], rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), stats["frozen"], frozen)


@pytest.mark.parametrize(("images", "num_train", "batches"), [(0, 256, 0), (64, 256, 1), (191, 256, 2), (999, 256, 4)])
def test_whole_batches_are_taken_and_no_more_than_an_epoch(small, images, num_train, batches):
    assert num_batches(resolve(small, {"train.precise_bn_images": images}), num_train) == batches


@pytest.fixture
def plain(tmp_path, small):
    return trained(tmp_path / "plain", small)


@pytest.fixture
def precise(tmp_path, small):
    return trained(tmp_path / "precise", small, **PRECISE)


def trained(path, config, **overrides):
    folder = folder_of(path, config, **overrides)
    loop.train([folder], Interruption())
    assert folder.status() == "done", folder.error()
    return folder


def is_statistic(key):
    return "batch_stats" in key


def test_training_stays_what_it_was_and_what_is_evaluated_changes(plain, precise):
    expected, ours = final_state(plain), final_state(precise)
    for key, value in expected.items():
        assert np.array_equal(ours[key], value) != is_statistic(key), key
    of_steps = [[row["loss"] for row in f.metrics() if "learning_rate" in row] for f in (plain, precise)]
    assert of_steps[0] == of_steps[1]
    of_validation = [[row["loss"] for row in f.metrics() if "top1" in row] for f in (plain, precise)]
    assert len(of_validation[0]) == 3
    assert all(a != b for a, b in zip(*of_validation, strict=True))


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_final_checkpoint_holds_the_statistics_of_its_weights_on_the_first_batches(tmp_path, small, ema_decay):
    """And is what `evaluate` and `load` read, so they say what the result says."""
    folder = trained(tmp_path / "one", small, **PRECISE, train__ema_decay=ema_decay)
    network = load(folder)
    config = network.config
    stream, means, squares = open_stream(config, config.data.train_split, make_mesh()), [], []
    for step, batch in enumerate(stream.training_batches(64, 0, 2)):
        augment_key, *_ = keys_of_step(jax.random.PRNGKey(config.seed), step)
        images = augment(batch["image"], augment_key, config.data, config.input_size)
        kernel = network.variables["params"]["Conv_0"]["kernel"]
        values = np.float64(nn.Conv(8, (3, 3), 2, use_bias=False).apply({"params": {"kernel": kernel}}, images))
        means.append(values.mean((0, 1, 2)))
        squares.append(np.square(values).mean((0, 1, 2)))
    found = network.variables["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(found["mean"], np.mean(means, 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["var"], np.mean(squares, 0) - np.mean(means, 0) ** 2, rtol=1e-4)
    again = evaluate.of_trial(folder)
    assert {key: again[key] for key in ("top1", "top5")} == {key: folder.result()[key] for key in ("top1", "top5")}
    assert again["loss"] == pytest.approx(folder.result()["loss"], rel=1e-6)


def test_trials_on_one_stream_and_other_intervals_change_nothing(tmp_path, small, plain, precise):
    """The batches are shared, also with a trial that takes more of them and with one that takes none."""
    more = {"train__precise_bn_images": 256}
    alone = trained(tmp_path / "more alone", small, **more)
    folders = [folder_of(tmp_path / name, small, **over) for name, over in (("a", PRECISE), ("b", more), ("c", {}))]
    small.train.update(eval_every_epochs=0.5, checkpoint_every_epochs=2.0)
    often = trained(tmp_path / "often", small, **PRECISE)
    loop.train(folders, Interruption())
    for ours, theirs in zip([*folders, often], [precise, alone, plain, precise], strict=True):
        assert scores(ours) == scores(theirs)
        expected, found = final_state(theirs), final_state(ours)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=f"{ours.name}: {key}")


def test_vmapped_replicates_have_statistics_of_their_own(tmp_path, small):
    ends = []
    for vmapped in (True, False):
        folders = [
            folder_of(tmp_path / f"{vmapped}{seed}", small, **PRECISE, seed=seed, train__vmap_replicates=vmapped)
            for seed in (0, 1)
        ]
        loop.train(folders, Interruption())
        ends.append([final_state(folder) for folder in folders])
    for together, alone in zip(*ends, strict=True):
        assert_close(together, alone, 1e-4)
    assert any(is_statistic(key) and not np.allclose(value, ends[0][1][key]) for key, value in ends[0][0].items())


@pytest.mark.parametrize("looks", [21, 28])
def test_stopped_anywhere_near_its_end_it_ends_the_same(tmp_path, small, precise, looks):
    """In an estimation, in an evaluation, before the test split: what is done again gives the same."""
    stopped = folder_of(tmp_path / "stopped", small, **PRECISE)
    with pytest.raises(Interrupted):
        loop.train([stopped], StopAfter(looks))
    loop.train([stopped], Interruption())
    assert scores(stopped) == scores(precise)
    for key, value in final_state(precise).items():
        np.testing.assert_array_equal(final_state(stopped)[key], value, err_msg=key)


class WithoutStatistics(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(10)(x.mean((1, 2)))


def test_a_network_without_statistics_is_refused_before_anything_is_trained(small, monkeypatch):
    monkeypatch.setattr("mnet_jax.models.registry.build", lambda _: WithoutStatistics())
    config = resolve(small, {"train.precise_bn_images": 64})
    with pytest.raises(UserError, match=r"precise_bn_images=64: must be 0, network tests\.smooth_network:Small has no"):
        inputs.prepare(config)
    config = resolve(small, {"model.bn_devices": "local"})
    with pytest.raises(UserError, match=r"bn_devices='local': must be 'global', network tests\.smooth_network:Small"):
        inputs.prepare(config)
