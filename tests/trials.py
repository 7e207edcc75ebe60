"""A trial in a folder, stopped where a test wants it, and what it left."""

import jax
import numpy as np
import orbax.checkpoint as ocp

from mnet_jax.config.resolve import resolve
from mnet_jax.devices.signals import Interruption
from mnet_jax.train.checkpoint import Checkpoints
from mnet_jax.workdir.files import TrialFolder


class StopAfter(Interruption):
    """Asks to stop at the n-th time somebody looks."""

    def __init__(self, looks):
        super().__init__()
        self._looks = looks

    def check(self):
        self._looks -= 1
        if self._looks < 0:
            self.set("SIGTERM")
        super().check()


def folder_of(path, config, **overrides):
    folder = TrialFolder(path)
    folder.create(resolve(config, {k.replace("__", "."): v for k, v in overrides.items()}).to_dict())
    return folder


def final_state(folder):
    """Every array of the last checkpoint, by its path, without knowing the tree."""
    return state_at(folder, Checkpoints(folder.checkpoints_path).latest_step())


def state_at(folder, step):
    """Every array of the checkpoint of a step, which must still be there."""
    tree = ocp.StandardCheckpointer().restore(folder.checkpoints_path.absolute() / str(step) / "state")
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def assert_close(ours, expected, tolerance):
    """Every array of two states, by its norm."""
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        distance = np.linalg.norm(ours[key].astype(np.float64) - value)
        assert distance <= tolerance * max(np.linalg.norm(value), 1e-3), f"{key} differs by {distance}"


def scores(folder):
    return {key: folder.result()[key] for key in ("top1", "top5", "loss", "steps")}
