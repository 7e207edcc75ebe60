import pytest

from mnet_jax.config.resolve import resolve
from mnet_jax.sweep.advice import StepEstimate, advice, estimate
from mnet_jax.sweep.launchers.contract import Capacity
from mnet_jax.sweep.run import run_sweep
from tests.sweep.launchers.test_launchers_by_name import OWN

GPU = Capacity(1, 1, 0, "gpu")


def trials(tiny, *overrides):
    return {str(i): resolve(tiny, override) for i, override in enumerate(overrides)}


def test_starts_are_shared_and_memory_is_not():
    """By hand: 3 steps of 4 s in a row are 12; together they move for 6 s, or start kernels for 4."""
    assert StepEstimate(2.0, 4.0).gain(3) == 12 / 6
    assert StepEstimate(1.0, 4.0).gain(3) == 12 / 4
    assert StepEstimate(1.0, 4.0).start_share == 0.75
    assert StepEstimate(5.0, 4.0).gain(3) == 1
    assert StepEstimate(5.0, 4.0).start_share == 0


def test_a_larger_batch_waits_for_memory_and_more_devices_divide_it(tiny):
    small, large = estimate(resolve(tiny)), estimate(resolve(tiny, {"train.batch_size": 128}))
    assert large.memory_seconds == 2 * small.memory_seconds
    assert large.start_seconds == small.start_seconds == 28 * 20 * 2e-6
    assert estimate(resolve(tiny, {"train.batch_size": 128}), 2) == small


def test_replicates_of_a_small_network_are_told_of_on_a_gpu_alone(tiny):
    several = trials(tiny, {"seed": 0}, {"seed": 1}, {"optim.learning_rate": 0.1}, {"model.alpha": 0.5})
    said = advice(several, GPU)
    assert said.startswith("3 trials like 0 differ in seed, rate, decay or smoothing")
    assert "about 3.0 times as fast, by an estimate (--config.train.vmap_replicates)" in said
    for platform in ("cpu", "tpu", ""):
        assert advice(several, GPU._replace(platform=platform)) is None


@pytest.mark.parametrize(
    "overrides",
    [
        ({"seed": 0},),
        ({"seed": 0}, {"model.alpha": 0.5}),
        ({"seed": 0, "train.vmap_replicates": True}, {"seed": 1, "train.vmap_replicates": True}),
        ({"seed": 0, "train.batch_size": 1 << 20}, {"seed": 1, "train.batch_size": 1 << 20}),
    ],
    ids=["alone", "other networks", "vmapped already", "memory is the limit"],
)
def test_where_nothing_is_gained_nothing_is_said(tiny, overrides):
    tiny.data.train_split = "train"
    assert advice(trials(tiny, *overrides), GPU) is None


def test_a_sweep_says_it_before_it_trains(tiny, tmp_path, capsys):
    (tmp_path / "launcher.py").write_text(OWN.replace("Capacity(2, 1, 0)", 'Capacity(2, 1, 0, "gpu")'))
    tiny.folder = str(tmp_path)
    tiny.sweep.seed = (0, 1)
    run_sweep(tiny, tmp_path / "work", launcher="launcher.py:Mine")
    assert "2 trials like " in capsys.readouterr().out.partition("failed")[0]
