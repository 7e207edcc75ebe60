"""What each device does alone, on the 8 that JAX makes of one CPU, against a loop over eight slices of the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh

from mnet_jax import evaluate
from mnet_jax.config.durations import in_steps
from mnet_jax.config.identity import trial_hash
from mnet_jax.config.resolve import resolve
from mnet_jax.data.augment import augment
from mnet_jax.data.mixing import mix
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.sweep.run import check_fits
from mnet_jax.train import bn_devices, loop, optim, step
from mnet_jax.train.trained import load
from tests import short_network
from tests.trials import StopAfter, assert_close, final_state, folder_of, scores

on_8_devices = pytest.mark.skipif(jax.device_count() < 8, reason="needs JAX_NUM_CPU_DEVICES=8")

LOCAL = {"model__bn_devices": "local"}


@pytest.fixture
def short(small):
    """A config of three blocks of MobileNet V3, without what is drawn in a step."""
    small.model.update(name=short_network.NAME, total_stride=4, dropout=0.0)
    small.data.crop = "none"
    small.optim.warmup_epochs = 0.0
    return small


@pytest.fixture
def devices(monkeypatch):
    """Sets how many of the devices trials are trained on."""

    def use(count):
        mesh = Mesh(np.array(jax.devices()[:count]), ("data",), axis_types=(AxisType.Auto,))
        monkeypatch.setattr(loop, "make_mesh", lambda: mesh)

    return use


def begin(config):
    """Network, optimizer and first state of a config."""
    model = registry.build(config.model)
    optimizer, _ = optim.build(config.optim, in_steps(config, 256))
    return model, optimizer, jax.jit(lambda: step.create_state(model, optimizer, config, config.seed))()


def batch_of(count):
    rng = np.random.default_rng(0)
    return {"image": rng.integers(0, 256, (count, 28, 28, 1), np.uint8), "label": rng.integers(0, 10, count, np.int32)}


def in_float64(config):
    config = config.unlock()
    config.model.dtype = "float64"
    return config


def by_slices(config, batch):
    """Loss, parameters and the statistics of each slice after a step: a loop over eight slices of the batch."""
    model, optimizer, state = begin(config)

    @jax.jit
    def slice_of(params, images, targets, dropout_key, mixing_key):
        images, targets = mix(images, targets, mixing_key, config.train.mixup_alpha, config.train.cutmix_alpha)

        def loss_of(params):
            variables, rngs = {"params": params, "batch_stats": state.batch_stats}, {"dropout": dropout_key}
            logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"], rngs=rngs)
            return optax.softmax_cross_entropy(logits, targets).mean(), updated["batch_stats"]

        return jax.value_and_grad(loss_of, has_aux=True)(params)

    @jax.jit
    def prepared(batch):
        images = augment(batch["image"], augment_key, config.data, config.input_size)
        return jnp.split(images, 8), jnp.split(jax.nn.one_hot(batch["label"], 10), 8)

    @jax.jit
    def mean_of(losses, gradients, statistics):
        mean = jax.tree.map(lambda *leaves: sum(leaves) / 8, *gradients)
        updates, _ = optimizer.update(mean, state.opt_state, state.params)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *statistics)
        return sum(losses) / 8, optax.apply_updates(state.params, updates), stacked

    augment_key, *keys = step.keys_of_step(state.rng, state.step)
    losses, gradients, statistics = [], [], []
    for i, (images, targets) in enumerate(zip(*prepared(batch), strict=True)):
        own_keys = [jax.random.fold_in(key, i) for key in keys]
        (loss, own), gradient = slice_of(state.params, images, targets, *own_keys)
        losses.append(loss)
        gradients.append(gradient)
        statistics.append(own)
    return mean_of(losses, gradients, statistics)


def on_8(config, batch):
    """The same of a step on 8 devices."""
    model, optimizer, state = begin(config)
    train_step = jax.jit(step.make_train_step(model, optimizer, config, make_mesh()))
    state, metrics = train_step(bn_devices.spread(state, 8), batch)
    return metrics["loss"], state.params, state.batch_stats


def assert_same(ours, expected, tolerance):
    for (path, a), (_, b) in zip(*map(jax.tree_util.tree_leaves_with_path, (ours, expected)), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape, jax.tree_util.keystr(path)
        assert np.linalg.norm(a - b) <= tolerance * max(np.linalg.norm(b), 1e-3), jax.tree_util.keystr(path)


@on_8_devices
def test_a_step_on_8_devices_is_the_mean_of_those_of_eight_slices(short):
    """Gradients are their mean, not their sum; each keeps the statistics of its slice. Leaves stay float32."""
    with jax.enable_x64(True):
        config = in_float64(resolve(short, {"model.bn_devices": "local"}))
        ours, expected = on_8(config, batch_of(32)), by_slices(config, batch_of(32))
    assert_same(ours, expected, 1e-5)
    first = jax.tree.leaves(ours[2])[0]
    assert first.shape[0] == 8
    assert len(np.unique(np.asarray(first), axis=0)) == 8, "each device has other images"


@on_8_devices
def test_a_device_draws_as_if_it_were_alone(small):
    """Dropout and mixing from keys of its own; an image is augmented as by one device."""
    small.optim.warmup_epochs = 0.0
    small.data.flip = True
    small.train.update(mixup_alpha=0.4, cutmix_alpha=1.0)
    config = resolve(small, {"model.bn_devices": "local"})
    assert_same(on_8(config, batch_of(32)), by_slices(config, batch_of(32)), 1e-4)


@on_8_devices
def test_groups_on_one_device_are_devices(short):
    """`bn_group` of an eighth of the batch gives the loss, the parameters and the average of the statistics."""
    with jax.enable_x64(True):
        local = in_float64(resolve(short, {"model.bn_devices": "local"}))
        loss, params, batch_stats = on_8(local, batch_of(32))
        grouped = in_float64(resolve(short, {"model.bn_group": 4}))
        model, optimizer, state = begin(grouped)
        state, metrics = jax.jit(step.make_train_step(model, optimizer, grouped))(state, batch_of(32))
    means = bn_devices.averaged({"batch_stats": batch_stats})["batch_stats"]
    assert_same((metrics["loss"], state.params, state.batch_stats), (loss, params, means), 1e-5)


def trained(path, config, looks=None, **overrides):
    folder = folder_of(path, config, **overrides)
    if looks:
        with pytest.raises(Interrupted):
            loop.train([folder], StopAfter(looks))
    loop.train([folder], Interruption())
    assert folder.status() == "done", folder.error()
    return folder


def assert_equal(ours, theirs):
    assert scores(ours) == scores(theirs)
    expected, found = final_state(theirs), final_state(ours)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@on_8_devices
def test_a_trial_twice_and_one_that_was_stopped_are_equal_bit_for_bit(tmp_path, small):
    """And what is evaluated, loaded and exported is the mean of the statistics that were saved."""
    whole, again = (trained(tmp_path / name, small, **LOCAL, train__ema_decay=0.9) for name in ("whole", "again"))
    stopped = trained(tmp_path / "stopped", small, looks=4 + 3, **LOCAL, train__ema_decay=0.9)
    assert_equal(again, whole)
    assert_equal(stopped, whole)
    network, saved = load(whole), final_state(whole)
    for collection in ("['batch_stats']", "['ema']['batch_stats']"):
        assert saved[f"{collection}['BatchNorm_0']['mean']"].shape == (8, 8)
    for name, value in network.variables["batch_stats"]["BatchNorm_0"].items():
        np.testing.assert_allclose(value, saved[f"['ema']['batch_stats']['BatchNorm_0']['{name}']"].mean(0), rtol=1e-6)
    assert evaluate.of_trial(whole)["loss"] == pytest.approx(whole.result()["loss"], rel=1e-6)


@on_8_devices
@pytest.mark.parametrize(("before", "now"), [(8, 1), (1, 8)])
def test_another_number_of_devices_is_refused_before_anything_starts(tmp_path, small, devices, before, now):
    folder = folder_of(tmp_path / "trial", small, **LOCAL)
    devices(before)
    with pytest.raises(Interrupted):
        loop.train([folder], StopAfter(4 + 3))
    saved = final_state(folder)
    config = resolve(small, {"model.bn_devices": "local"})
    for others in (now, 4):
        message = (
            rf"trial has batch statistics of each of {before} devices, and here are {others}: .* with {before} only"
        )
        with pytest.raises(UserError, match=message):
            check_fits(folder, config, others, 0)
    check_fits(folder, config, before, 0)
    devices(now)
    loop.train([folder], Interruption())
    assert (folder.status(), folder.saved_step()) == ("failed", 3)
    assert f"here are {now}" in folder.error()
    devices(before)
    loop.train([folder], Interruption())
    assert folder.status() == "done"
    assert saved.keys() == final_state(folder).keys()


def test_one_device_has_what_it_has_under_global(tmp_path, small, devices):
    devices(1)
    assert_equal(*(trained(tmp_path / value, small, model__bn_devices=value) for value in ("local", "global")))


@on_8_devices
def test_statistics_that_are_estimated_anew_are_those_of_all_images(tmp_path, small):
    """The first normalisation sees what it sees under "global", so with the same weights it has the same statistics."""
    precise = trained(tmp_path / "local", small, **LOCAL, train__precise_bn_images=150)
    saved, found = final_state(precise), load(precise).variables["batch_stats"]["BatchNorm_0"]
    for name, value in found.items():
        copies = saved[f"['batch_stats']['BatchNorm_0']['{name}']"]
        assert copies.shape == (8, 8)
        np.testing.assert_array_equal(copies, np.broadcast_to(value, (8, 8)))
    assert evaluate.of_trial(precise)["loss"] == pytest.approx(precise.result()["loss"], rel=1e-6)
    running = trained(tmp_path / "running", small, **LOCAL)
    assert scores(running)["loss"] != scores(precise)["loss"]
    for key, value in final_state(running).items():
        if "params" in key:
            np.testing.assert_array_equal(saved[key], value, err_msg=key)


@on_8_devices
def test_vmapped_replicates_have_devices_of_their_own(tmp_path, small):
    ends = []
    for vmapped in (True, False):
        folders = [
            folder_of(tmp_path / f"{vmapped}{seed}", small, **LOCAL, seed=seed, train__vmap_replicates=vmapped)
            for seed in (0, 1)
        ]
        loop.train(folders, Interruption())
        assert [folder.status() for folder in folders] == ["done"] * 2, folders[0].error()
        ends.append([final_state(folder) for folder in folders])
    for together, alone in zip(*ends, strict=True):
        assert_close(together, alone, 1e-4)


@on_8_devices
def test_trials_that_share_a_stream_keep_what_they_have_alone(tmp_path, small):
    alone = trained(tmp_path / "alone", small, **LOCAL)
    folders = [folder_of(tmp_path / "local", small, **LOCAL), folder_of(tmp_path / "global", small)]
    loop.train(folders, Interruption())
    assert_equal(folders[0], alone)
    assert scores(folders[1])["loss"] != scores(alone)["loss"]


def test_only_what_is_not_the_default_is_part_of_a_trials_hash(tiny):
    default = resolve(tiny)
    hashes = {
        trial_hash(resolve(tiny, overrides))
        for overrides in ({"model.bn_devices": "local"}, {"model.bn_group": 4}, {"model.bn_group": 8}, {})
    }
    assert len(hashes) == 4
    explicit = resolve(tiny, {"model.bn_devices": "global", "model.bn_group": 0})
    assert trial_hash(explicit) == trial_hash(default)
    old = default.copy_and_resolve_references().unlock()
    del old.model["bn_devices"]
    assert not bn_devices.is_local(old), "the config of a workdir from before"


@pytest.mark.parametrize(
    ("overrides", "num_devices", "expected"),
    [
        ({}, 8, 64),
        ({"model.bn_devices": "local"}, 8, 8),
        ({"model.bn_devices": "local"}, 1, 64),
        ({"model.bn_group": 4}, 8, 4),
        ({"model.bn_group": 4, "model.bn_devices": "local"}, 2, 4),
    ],
)
def test_so_many_images_are_normalised_together(tiny, overrides, num_devices, expected):
    assert bn_devices.images_together(resolve(tiny, overrides), num_devices) == expected


@pytest.mark.parametrize(("group", "num_devices", "nearest"), [(13, 1, 16), (16, 8, 8), (3, 8, 2), (100, 1, 64)])
def test_groups_that_do_not_divide_the_images_of_a_device_are_refused(tmp_path, tiny, group, num_devices, nearest):
    config = resolve(tiny, {"model.bn_group": group})
    message = rf"bn_group={group}: must divide the {64 // num_devices} images of a device .*, such as {nearest}$"
    with pytest.raises(UserError, match=message):
        check_fits(folder_of(tmp_path / "trial", tiny), config, num_devices, 0)


def test_one_image_alone_is_no_group_where_a_map_has_one_pixel(tmp_path, tiny):
    folder = folder_of(tmp_path / "trial", tiny)
    config = resolve(tiny, {"input_size": 4, "model.bn_group": 1})
    with pytest.raises(UserError, match=r"bn_group=1: .* one value per channel.*group is --config.model.bn_group=2"):
        check_fits(folder, config, 1, 0)
    config = resolve(tiny, {"input_size": 4, "model.bn_devices": "local", "train.batch_size": 8})
    with pytest.raises(UserError, match=r"batch_size=8: .* one value per channel.*--config.train.batch_size=16"):
        check_fits(folder, config, 8, 0)
    check_fits(folder, config, 4, 0)


def test_flaxs_batch_norm_knows_no_groups(tiny):
    with pytest.raises(UserError, match=r"bn_group=4: must be 0 with config.model.layers='textbook'"):
        resolve(tiny, {"model.bn_group": 4, "model.layers": "textbook"})
