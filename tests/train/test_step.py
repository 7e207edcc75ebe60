import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax.config.durations import in_steps
from mnet_jax.config.resolve import resolve
from mnet_jax.data.augment import augment
from mnet_jax.data.mixing import mix
from mnet_jax.devices.mesh import make_mesh, replicated_on, sharded_on
from mnet_jax.models import registry
from mnet_jax.train import optim, step


def make(config, num_train=256):
    model = registry.build(config.model)
    optimizer, _ = optim.build(config.optim, in_steps(config, num_train))
    state = jax.jit(lambda: step.create_state(model, optimizer, config, config.seed))()
    return model, jax.jit(step.make_train_step(model, optimizer, config)), state


def batch_of(count, seed=0):
    rng = np.random.default_rng(seed)
    return {"image": rng.integers(0, 256, (count, 28, 28, 1), np.uint8), "label": rng.integers(0, 10, count, np.int32)}


GOLDEN = {"loss": 2.62359, "grad_norm": 102.4763, "batch_stats": 274.0718}


def test_golden_first_step(resolved):
    """If this fails and you meant to change numbers, paste the new ones; if not, look at: initialisation, augmentation
    (crop, resize, mean and std), dropout, BN momentum and epsilon, the loss, the keys that a step draws. "batch_stats"
    is how far the running statistics moved, in all."""
    _, train_step, state = make(resolved)
    after, metrics = train_step(state, batch_of(16))
    moved = jax.tree.map(lambda old, new: float(np.abs(new - old).sum()), state.batch_stats, after.batch_stats)
    metrics["batch_stats"] = sum(jax.tree.leaves(moved))
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(GOLDEN, rel=2e-3)


def test_a_step_is_a_pure_function_and_moves_every_parameter(tiny):
    tiny.optim.warmup_epochs = 0.0
    _, train_step, state = make(resolve(tiny))
    first, _ = train_step(state, batch_of(16))
    again, _ = train_step(state, batch_of(16))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    for path, (before, after) in jax.tree_util.tree_leaves_with_path(
        jax.tree.map(lambda a, b: (a, b), state.params, first.params), is_leaf=lambda x: isinstance(x, tuple)
    ):
        assert not np.array_equal(before, after), f"{jax.tree_util.keystr(path)} did not move"
    assert int(first.step) == 1
    np.testing.assert_array_equal(first.rng, state.rng)


def test_steps_draw_different_randomness(tiny):
    """With a learning rate of next to nothing, two steps on one batch differ by their crops alone."""
    tiny.optim.update(learning_rate=1e-30, warmup_epochs=0.0)
    _, train_step, state = make(resolve(tiny))
    state, first = train_step(state, batch_of(16))
    _, second = train_step(state, batch_of(16))
    assert float(first["loss"]) != float(second["loss"])


@pytest.mark.skipif(jax.device_count() < 8, reason="needs JAX_NUM_CPU_DEVICES=8")
@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [("mobilenet_v1", "float64", 1e-5), ("mobilenet_v1", "float32", 3e-2), ("mobilenet_v2", "float64", 1e-5)],
)
def test_a_step_on_8_devices_equals_one_on_one(tiny, name, dtype, tolerance):
    """Same loss, parameters and global batch statistics; a gradient summed twice would be 8 times too large.

    Float32 rounding grows through some 30 layers of batch normalisation; with activations in float64 it does not, and
    what is left (parameters, images and logits stay float32) shows that both compute the same.
    """
    tiny.model.name = name
    tiny.optim.warmup_epochs = 0.0
    config = resolve(tiny).unlock()
    config.model.dtype = dtype
    mesh = make_mesh()
    assert mesh.size == 8
    replicated, sharded = replicated_on(mesh), sharded_on(mesh)
    batch = batch_of(32)
    with jax.enable_x64(dtype == "float64"):
        _, train_step, state = make(config)
        expected = train_step(state, batch)
        ours = train_step(jax.device_put(state, replicated), jax.device_put(batch, sharded))
    assert len(ours[0].step.sharding.device_set) == 8
    for (path, a), (_, b) in zip(*map(jax.tree_util.tree_leaves_with_path, (ours, expected)), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        distance = np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-3)
        assert distance < tolerance, jax.tree_util.keystr(path)
    np.testing.assert_allclose(ours[1]["loss"], expected[1]["loss"], rtol=1e-5)


def test_moving_averages_follow_params_and_statistics_as_in_tensorflow(tiny):
    tiny.train.ema_decay = 0.5
    tiny.optim.warmup_epochs = 0.0
    _, train_step, state = make(resolve(tiny))
    new, _ = train_step(state, batch_of(16))
    decay = 2 / 11  # min(0.5, (1 + step) / (10 + step)) at step 1
    expected = jax.tree.map(lambda old, now: decay * old + (1 - decay) * now, state.ema["params"], new.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), new.ema["params"], expected)
    assert new.evaluated() is new.ema
    late, _ = train_step(new.replace(step=jnp.int32(100)), batch_of(16))
    expected = jax.tree.map(lambda old, now: (old + now) / 2, new.ema["batch_stats"], late.batch_stats)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), late.ema["batch_stats"], expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_the_loss_is_the_cross_entropy_with_smoothed_labels(tiny, smoothing):
    """1 - s of the label's own class, and s spread over all ten; from logits that are computed here."""
    tiny.train.label_smoothing = smoothing
    config, batch = resolve(tiny), batch_of(16)
    model, train_step, state = make(config)
    state = state.replace(params=jax.tree.map(lambda leaf: leaf + 0.01, state.params))
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(state.rng, state.step))
    logits, _ = model.apply(
        {"params": state.params, "batch_stats": state.batch_stats},
        augment(batch["image"], augment_key, config.data, config.input_size),
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": dropout_key},
    )
    log_p = np.asarray(jax.nn.log_softmax(logits.astype(np.float32)), np.float64)
    own = log_p[np.arange(16), batch["label"]]
    expected = -((1 - smoothing) * own + smoothing * log_p.mean(axis=1)).mean()
    assert abs(log_p.mean() - own.mean()) > 1e-3, "or no strength of smoothing would show"
    assert float(train_step(state, batch)[1]["loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alphas", [(0.4, 0.0), (0.0, 1.0)], ids=["mixup", "cutmix"])
def test_mixed_labels_are_smoothed_after_they_are_mixed(small, alphas):
    """As PyTorch's `CrossEntropyLoss(label_smoothing)` does to targets that torchvision mixed."""
    small.train.update(label_smoothing=0.1, mixup_alpha=alphas[0], cutmix_alpha=alphas[1])
    config, batch = resolve(small), batch_of(16)
    model, train_step, state = make(config)
    augment_key, dropout_key, mixing_key = step.keys_of_step(state.rng, state.step)
    images = augment(batch["image"], augment_key, config.data, config.input_size)
    images, targets = mix(images, np.eye(10, dtype=np.float32)[batch["label"]], mixing_key, *alphas)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits, _ = model.apply(variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": dropout_key})
    log_p = np.asarray(jax.nn.log_softmax(logits.astype(np.float32)), np.float64)
    expected = -(0.9 * (np.asarray(targets) * log_p).sum(1) + 0.1 * log_p.mean(1)).mean()
    assert 0.02 < np.max(targets, axis=1).min() < 0.98, "the labels must be mixed"
    assert float(train_step(state, batch)[1]["loss"]) == pytest.approx(expected, rel=1e-5)


def test_a_step_in_bfloat16_keeps_its_state_in_float32_and_its_loss_close(tiny):
    losses = {}
    for dtype in ("float32", "bfloat16"):
        tiny.model.dtype = dtype
        _, train_step, state = make(resolve(tiny))
        new, metrics = train_step(state, batch_of(16))
        losses[dtype] = float(metrics["loss"])
        floating = [leaf for leaf in jax.tree.leaves(new) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        assert {leaf.dtype for leaf in floating} == {jnp.dtype(jnp.float32)}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]


class Lookup:
    """A network whose logits are the first pixel's row of a table."""

    def __init__(self, table):
        self.table = jnp.asarray(table, jnp.float32)

    def apply(self, variables, images, train):
        return self.table[jnp.round(images[:, 0, 0, 0]).astype(int)]


def test_evaluation_counts_ranks_exactly_with_ties_masks_and_nan(tiny):
    tiny.input_size = 2
    tiny.data.update(mean=(0.0,), std=(1 / 255,))
    table = np.zeros((5, 10), np.float32)
    table[0] = np.arange(10)  # label 9 is first, 5 fifth, 4 sixth
    table[1, :] = 1.0  # all tie: the lowest class wins
    table[2, 3] = np.nan
    eval_step = step.make_eval_step(Lookup(table), tiny)
    cases = [(0, 9, 1, 1), (0, 5, 0, 1), (0, 4, 0, 0), (1, 0, 1, 1), (1, 4, 0, 1), (1, 5, 0, 0), (2, 3, 0, 0)]
    rows, labels, top1, top5 = map(np.array, zip(*cases, strict=True))
    images = np.broadcast_to(rows.reshape(-1, 1, 1, 1), (len(rows), 2, 2, 1)).astype(np.uint8)
    for i in range(len(cases)):
        mask = (np.arange(len(cases)) == i).astype(np.float32)
        sums = eval_step({}, {"image": images, "label": labels, "mask": mask})
        assert (float(sums["top1"]), float(sums["top5"]), float(sums["count"])) == (top1[i], top5[i], 1), cases[i]
        assert sums["correct"].tolist() == [top1[i] if j == i else -1 for j in range(len(cases))], cases[i]
