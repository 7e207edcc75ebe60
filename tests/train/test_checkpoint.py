import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax.errors import UserError
from mnet_jax.train.checkpoint import Checkpoints

CLOCK = {"images": 64, "train_seconds": 1.5, "wall_seconds": 2.25}


def state(value):
    return {"params": {"kernel": jnp.full((2, 3), value)}, "step": jnp.int32(value), "empty": None}


def abstract():
    return jax.eval_shape(lambda: state(0.0))


def test_the_latest_state_comes_back_bit_for_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.latest_step() is None
    for step in (3, 7, 9):
        checkpoints.save(step, state(step / 3), CLOCK | {"images": step})
    checkpoints.close()
    reopened = Checkpoints(tmp_path / "checkpoints")
    assert reopened.latest_step() == 9
    restored, clock = reopened.restore(abstract())
    jax.tree.map(np.testing.assert_array_equal, restored, state(9 / 3))
    assert clock == CLOCK | {"images": 9}
    reopened.close()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["7", "9"]


def test_a_saved_state_is_a_copy(tmp_path):
    """The next training step is given the buffers (donation) while the checkpoint is still being written."""
    checkpoints = Checkpoints(tmp_path)
    value = jnp.full((1000, 1000), 1.0)
    checkpoints.save(1, {"x": value}, CLOCK)
    jax.jit(lambda x: x * 0 - 1, donate_argnums=0)(value).block_until_ready()
    checkpoints.close()
    restored, _ = Checkpoints(tmp_path).restore({"x": jax.ShapeDtypeStruct((1000, 1000), jnp.float32)})
    np.testing.assert_array_equal(restored["x"], 1.0)


def test_saving_a_step_again_keeps_the_first(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, state(1.0), CLOCK)
    checkpoints.save(5, state(2.0), CLOCK)
    restored, _ = checkpoints.restore(abstract())
    assert float(restored["params"]["kernel"][0, 0]) == 1.0
    checkpoints.close()


def test_a_damaged_checkpoint_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, state(1.0), CLOCK)
    checkpoints.close()
    for path in (tmp_path / "5").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    reopened = Checkpoints(tmp_path)
    with pytest.raises(UserError, match=r"checkpoint .*5 cannot be read .*delete it"):
        reopened.restore(abstract())
