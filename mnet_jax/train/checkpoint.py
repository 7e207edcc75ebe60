"""Checkpoints of one trial; the only file that knows Orbax."""

import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from mnet_jax.errors import UserError

_KEPT = 2


class Checkpoints:
    """The last two checkpoints in a folder. Saving happens in the background; `close` waits for it."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder.absolute()
        self._manager = ocp.CheckpointManager(self._folder, options=ocp.CheckpointManagerOptions(max_to_keep=_KEPT))

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint; None where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, clock: dict[str, float]) -> None:
        """Saves a pytree of arrays and the fields of the trial's `clock.Clock`; a step that is there is left as it is.

        The arrays are copied first: the next training step may overwrite the device's buffers.
        """
        if step == self.latest_step():
            return
        state = jax.tree.map(np.array, jax.device_get(state))
        self._manager.save(
            step, args=ocp.args.Composite(state=ocp.args.StandardSave(state), clock=ocp.args.JsonSave(clock))
        )

    def restore(self, abstract_state: Any) -> tuple[Any, dict[str, float]]:
        """The latest state, as host arrays, and its clock.

        Args:
          abstract_state: the state's tree of `jax.ShapeDtypeStruct`.

        Raises:
          UserError: the checkpoint cannot be read.
        """
        step = self.latest_step()
        abstract_state = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), abstract_state)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state), clock=ocp.args.JsonRestore())
        try:
            restored = self._manager.restore(step, args=args)
        except Exception as error:
            raise UserError(f"checkpoint {self._folder / str(step)} cannot be read ({error}); delete it") from error
        return restored["state"], restored["clock"]

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.wait_until_finished()
        self._manager.close()
