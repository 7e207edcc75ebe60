"""What the devices of a mesh send each other: the sums of a step, and nothing that grows with its images."""

import jax
import pytest

from benchmarks.deviceless import hlo
from benchmarks.deviceless.worker import Cell, steps_of
from mnet_jax.models import layers, registry
from tests import short_network

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs JAX_NUM_CPU_DEVICES=8")

SHORT = short_network.NAME
STEPS = [
    (SHORT, "fast"),
    (SHORT, "bytes"),
    *(
        pytest.param(*step, marks=pytest.mark.slow)
        for step in (("mobilenet_v1", "least"), ("mobilenet_v2", "fast"), ("mobilenet_v3_small", "bytes"))
    ),
]
PER_DEVICE = 4  # images
SCALAR = 4  # bytes
QUICKLY = {"xla_backend_optimization_level": 0}  # of LLVM, behind all that is looked at here


@pytest.fixture(autouse=True)
def names_of_its_own(monkeypatch):
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))


def steps_for(model, devices):
    cell = Cell(model, 0.25, 16, "float32", PER_DEVICE, devices, "cpu", "train", {"model.num_classes": "10"})
    return steps_of(cell.config("fast"), jax.devices()[:devices])


def program_of(compile_it):
    return hlo.Program(compile_it(compiler_options=QUICKLY).as_text())


def moved_by(program):
    return sum(kernel.bytes * kernel.times for kernel in program.kernels())


def nbytes(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("model", "formulation"), STEPS)
def test_a_training_step_sends_gradients_statistics_and_its_loss(model, formulation, monkeypatch):
    """Each once: of every layer the gradient of its kernel; of every batch normalisation two sums forward, for mean and
    variance, and two backward, which are the gradients of its bias and scale. If this fails, an activation is gathered,
    or a sum is taken twice: look at the largest, and for what in the step depends on its operand."""
    monkeypatch.setattr(layers, "formulation", lambda *_: formulation)
    steps = steps_for(model, 8)
    collectives = program_of(steps.train_step).collectives()
    largest = sorted(collectives, key=lambda one: one.bytes)[-5:]
    assert {one.kind for one in collectives} == {"all-reduce"}, largest
    expected = nbytes(steps.abstract_state.params) + nbytes(steps.abstract_state.batch_stats) + SCALAR
    assert sum(one.bytes * one.times for one in collectives) == expected, largest


def test_a_device_moves_and_sends_the_same_whether_they_are_2_or_8():
    two, eight = (program_of(steps_for(SHORT, devices).train_step) for devices in (2, 8))
    assert moved_by(two) == moved_by(eight)
    assert hlo.by_kind(two.collectives()) == hlo.by_kind(eight.collectives())


def test_an_evaluation_step_sends_four_sums_and_a_byte_for_each_image():
    """The sums are of loss, top-1, top-5 and count; "correct", int8, goes to all devices, and so is written for all."""
    two, eight = (program_of(steps_for(SHORT, devices).eval_step) for devices in (2, 8))
    for program in (two, eight):
        assert hlo.by_kind(program.collectives()) == {
            "all-gather": {"number": 1, "bytes": PER_DEVICE},
            "all-reduce": {"number": 1, "bytes": 4 * SCALAR},
        }
    assert moved_by(eight) - moved_by(two) == (8 - 2) * PER_DEVICE
