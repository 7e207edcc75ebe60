"""Checkpoints of one trial; the only file that knows Orbax."""

import hashlib
import logging
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from mnet_jax.devices.multihost import as_writer_says, is_writer
from mnet_jax.errors import UserError
from mnet_jax.workdir.whole import read_json, set_aside, write_json

_log = logging.getLogger(__name__)

_KEPT = 2
_CHECKSUMS = "checksums.json"  # in the folder of a step: [bytes, SHA-256] of every file of its items

Clock = dict[str, float]


class Checkpoints:
    """The last two checkpoints in a folder. Saving happens in the background; `close` waits for it.

    Each has checksums of its files. One that does not agree with them is passed over for the one before, and renamed
    to end in `.damaged`.
    """

    def __init__(self, folder: pathlib.Path, read_only: bool = False):
        """Opens the folder.

        Args:
          folder: of the checkpoints; made where it is missing.
          read_only: nothing is written, renamed or made.
        """
        self._folder, self._read_only = folder.absolute(), read_only
        self._saving: int | None = None
        if is_writer() and not read_only:
            for path in (self._folder, *self._folder.glob("*")):
                if path.is_file() and (path == self._folder or path.name.isdigit()):
                    self._pass_over(path, "it is a file, not a folder")
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=_KEPT,
                create=not read_only,  # Orbax's own `read_only` warns of itself
                async_options=ocp.AsyncOptions(post_finalization_callback=self._write_checksums),
            ),
            item_handlers={"state": ocp.StandardCheckpointHandler(), "clock": ocp.JsonCheckpointHandler()},
        )

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, sound or not; None where there is none."""
        return self._manager.latest_step()

    def saved(self) -> Any | None:
        """What is known of each array of the newest sound state, `shape` and `dtype`; None where there is none."""
        step = self._newest_sound(set())
        return None if step is None else self._manager.item_metadata(step)["state"].tree

    def save(self, step: int, state: Any, clock: Clock, anew: bool = False) -> None:
        """Saves a pytree of arrays and the fields of the trial's `clock.Clock`.

        The arrays are copied first: the next training step may overwrite the device's buffers.

        Args:
          step: of the state. What is there of it is left as it is.
          state: the arrays.
          clock: the fields.
          anew: what is there of the step is deleted; until its successor is written, the one before is the newest.
        """
        if step == self.latest_step() and not anew:
            return
        state = jax.tree.map(np.array, jax.device_get(state))
        self._manager.wait_until_finished()
        if step == self.latest_step():
            self._manager.delete(step)
        self._saving = step
        self._manager.save(
            step, args=ocp.args.Composite(state=ocp.args.StandardSave(state), clock=ocp.args.JsonSave(clock))
        )

    def restore(self, abstract_state: Any) -> tuple[Any, Clock] | None:
        """The newest state that is sound, as host arrays, and its clock; None where there is none.

        Args:
          abstract_state: the state's tree of `jax.ShapeDtypeStruct`.

        Raises:
          UserError: a checkpoint is sound, but of another network.
        """
        self._manager.wait_until_finished()
        expected = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), abstract_state)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(expected), clock=ocp.args.JsonRestore())
        passed_over: set[int] = set()
        while (step := self._newest_sound(passed_over)) is not None:
            path = self._folder / str(step)
            try:
                _check_network(path, self._manager.item_metadata(step)["state"].tree, abstract_state)
                restored = self._manager.restore(step, args=args)
                return restored["state"], restored["clock"]
            except UserError:
                raise
            except Exception as error:
                if isinstance(error, MemoryError | OSError) or (path / _CHECKSUMS).is_file():
                    raise  # the files are sound
                passed_over.add(step)
                self._pass_over(path, str(error).partition("\n")[0][:300])
        return None

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.wait_until_finished()
        self._manager.close()

    def _newest_sound(self, passed_over: set[int]) -> int | None:
        """The newest step whose files are as written, as process 0 finds it; those that are not are passed over."""
        found = -1
        if is_writer():
            for step in sorted(set(self._manager.all_steps()) - passed_over, reverse=True):
                path = self._folder / str(step)
                if (reason := _damage(path)) is None:
                    found = step
                    break
                passed_over.add(step)
                self._pass_over(path, reason)
        found = as_writer_says(found)
        self._manager.reload()
        return None if found < 0 else found

    def _write_checksums(self) -> None:
        """Called when all files of a step are there, but it is not renamed to its final name yet."""
        if is_writer():
            temporary = self._folder.glob(f"{self._saving}.orbax-checkpoint-tmp*")
            folder = next(path for path in (*temporary, self._folder / str(self._saving)) if path.is_dir())
            files = sorted(path for path in folder.glob("*/**/*") if path.is_file())
            write_json(folder / _CHECKSUMS, {str(path.relative_to(folder)): _checksum(path) for path in files})

    def _pass_over(self, path: pathlib.Path, reason: str) -> None:
        trial = self._folder.parent.name
        if self._read_only or not is_writer():
            _log.warning("%s: %s is damaged and passed over: %s", trial, path, reason)
        else:
            _log.warning("%s: %s is damaged and now named %s: %s", trial, path, set_aside(path).name, reason)


def _checksum(path: pathlib.Path) -> list:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return [file.tell(), digest]


def _damage(folder: pathlib.Path) -> str | None:
    """What is wrong with the files of a checkpoint; None where they are as written, or of an earlier version."""
    try:
        for name, (size, digest) in read_json(folder / _CHECKSUMS).items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} of {size} bytes"
            if _checksum(path) != [size, digest]:
                return f"{name} is not what was written"
    except (UserError, OSError, ValueError, TypeError) as error:
        return f"{_CHECKSUMS} cannot be read ({error})"
    return None


def _check_network(path: pathlib.Path, saved: Any, abstract_state: Any) -> None:
    """Raises UserError where arrays were saved that differ in name, type or shape; Orbax would cut or pad them."""
    theirs, ours = _kinds(saved), _kinds(abstract_state)
    different = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if different:
        name = different[0]
        raise UserError(
            f"checkpoint {path} is of another network: {name} is {theirs.get(name, 'missing')} there and "
            f"{ours.get(name, 'missing')} here (arrays that differ: {len(different)})"
        )


def _kinds(tree: Any) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
        for path, leaf in leaves
    }
