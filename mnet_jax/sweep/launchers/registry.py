"""Launchers by name."""

import importlib
import pathlib

from mnet_jax.config.launch import LAUNCHERS
from mnet_jax.config.own import load_object
from mnet_jax.errors import UserError, nearest
from mnet_jax.sweep.launchers.contract import Factory


def find(name: str, folder: pathlib.Path) -> Factory:
    """What makes a launcher.

    Args:
      name: of `LAUNCHERS`, or `package.module:function`, or `path/to/file.py:function`.
      folder: of the config file; relative paths start there.

    Raises:
      UserError: there is none of that name.
    """
    if name in LAUNCHERS:
        return importlib.import_module(f"mnet_jax.sweep.launchers.{name}").make
    if ":" not in name:
        raise UserError(f"launcher {name!r}{nearest(name, LAUNCHERS)} (known: {', '.join(LAUNCHERS)})")
    factory = load_object(name, folder)
    if not callable(factory):
        raise UserError(f"launcher {name!r}: {factory!r} is no function")
    return factory
