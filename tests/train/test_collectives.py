"""What the devices of a mesh send each other: the sums of a step, and nothing that grows with its images."""

import functools

import jax
import pytest

from benchmarks.deviceless import hlo
from benchmarks.deviceless.worker import Cell, steps_of

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs JAX_NUM_CPU_DEVICES=8")

MODELS = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small")
PER_DEVICE = 4  # images
SCALAR = 4  # bytes


@functools.cache
def steps_for(model, devices):
    overrides = {"model.num_classes": 10}
    config = Cell(model, 0.25, 16, "float32", PER_DEVICE, devices, "cpu", "train", overrides).config("fast")
    return steps_of(config, jax.devices()[:devices])


@functools.cache
def train_program(model, devices):
    return hlo.Program(steps_for(model, devices).train_step().as_text())


def eval_program(model, devices):
    return hlo.Program(steps_for(model, devices).eval_step().as_text())


def moved_by(program):
    return sum(kernel.bytes * kernel.times for kernel in program.kernels())


def nbytes(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_training_step_sends_gradients_statistics_and_its_loss(model):
    """Each once: of every layer the gradient of its kernel; of every batch normalisation two sums forward, for mean and
    variance, and two backward, which are the gradients of its bias and scale. If this fails, an activation is gathered,
    or a sum is taken twice: look at the largest of `collectives`, and for what in the step depends on its operand."""
    collectives = train_program(model, 8).collectives()
    largest = sorted(collectives, key=lambda one: one.bytes)[-5:]
    assert {one.kind for one in collectives} == {"all-reduce"}, largest
    state = steps_for(model, 8).abstract_state
    expected = nbytes(state.params) + nbytes(state.batch_stats) + SCALAR
    assert sum(one.bytes * one.times for one in collectives) == expected, largest


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_device_does_not_more_of_a_training_step_where_there_are_more(model):
    two, eight = (train_program(model, devices) for devices in (2, 8))
    assert moved_by(two) == moved_by(eight)
    assert hlo.by_kind(two.collectives()) == hlo.by_kind(eight.collectives())


@pytest.mark.parametrize("model", MODELS)
def test_an_evaluation_step_sends_four_sums_and_a_byte_per_image(model):
    """ "correct", int8, is given to every device; the sums are of loss, top-1, top-5 and count."""
    two, eight = (eval_program(model, devices) for devices in (2, 8))
    assert hlo.by_kind(eight.collectives()) == {
        "all-gather": {"number": 1, "bytes": PER_DEVICE},
        "all-reduce": {"number": 1, "bytes": 4 * SCALAR},
    }
    gathered = (1 + 1) * (8 - 2) * PER_DEVICE  # more images of `correct`, written by the all-gather ...
    assert moved_by(eight) - moved_by(two) <= gathered
