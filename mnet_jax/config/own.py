"""Code of one's own: classes named by `package.module:Name` or `path/to/file.py:Name`, and the source they are made of.

A file is executed once per process, under a name that no other module has, with its folder on the path. What a class is
made of is found in the text (see `source`), and kept with the trials that use it.
"""

import contextlib
import hashlib
import importlib
import os
import pathlib
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator

from mnet_jax.errors import UserError, explained, nearest

_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})

_NOT_THE_USERS = ("mnet_jax", "__main__", "__mp_main__")
_EXECUTED = "_of_"  # what the names of executed files begin with

_executed: dict[pathlib.Path, types.ModuleType] = {}
_brought: set[str] = set()  # modules that executed files imported


@contextlib.contextmanager
def on_path(folder: pathlib.Path) -> Iterator[None]:
    """Makes the modules of a folder importable for a while, before all others."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def execute(path: pathlib.Path) -> types.ModuleType:
    """The module that a file makes; executed at the first call.

    Raises:
      UserError: the file cannot be read, or raises; the message names file and line.
    """
    path = path.resolve()
    if path in _executed:
        return _executed[path]
    module = types.ModuleType(f"{_EXECUTED}{path.stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    _forget(lambda name, place: name in _brought and path.parent not in place.parents and has(path.parent, name))
    before = set(sys.modules)
    try:
        with explained(path), on_path(path.parent):
            exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    except UserError:
        del sys.modules[module.__name__]
        raise
    _brought.update(set(sys.modules) - before)
    _executed[path] = module
    return module


def _forget(is_meant: Callable[[str, pathlib.Path], bool]) -> dict[str, types.ModuleType]:
    """Drops modules of the user's by their name and file, and returns them; nothing that is installed."""
    dropped = {}
    for name, module in list(sys.modules.items()):
        place = _place(module)
        is_users = place and name.partition(".")[0] not in _NOT_THE_USERS and not is_installed(place)
        if is_users and not name.startswith(_EXECUTED) and is_meant(name, place):
            dropped[name] = sys.modules.pop(name)
    return dropped


def _place(module: types.ModuleType) -> pathlib.Path | None:
    """The file of a module, or the folder of a package that has none."""
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return pathlib.Path(place) if place else None


def has(folder: pathlib.Path, name: str) -> bool:
    """Whether a module would be imported from a folder."""
    top = name.partition(".")[0]
    return (folder / f"{top}.py").is_file() or (folder / top).is_dir()


def is_executed(module: types.ModuleType) -> bool:
    """Whether a module was made by `execute`, not by an import."""
    return module in _executed.values()


def is_installed(path: pathlib.Path) -> bool:
    """Whether a file is of Python's own, or of an installed package."""
    return str(path).startswith(_INSTALLED)


def only_here(name: str) -> pathlib.Path | None:
    """Where a top-level module was imported from, if another process could not import it."""
    place = _place(sys.modules[name]) if name in sys.modules else None
    if place is None or any(finder.find_spec(name, None) for finder in sys.meta_path):
        return None
    return place


def load_object(name: str, folder: pathlib.Path) -> object:
    """What `package.module:Name` or `path/to/file.py:Name` names.

    Args:
      name: as `config.model.name` or `config.data.name` has it.
      folder: of the config file; relative paths and packages start there.

    Raises:
      UserError: there is no such file, module or name.
    """
    where, _, wanted = name.rpartition(":")
    if where.endswith(".py"):
        path = folder / where
        if not path.is_file():
            raise UserError(f"{name!r}: there is no file {path}")
        module = execute(path)
    else:
        module = _import(where, folder, name)
    if not hasattr(module, wanted):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise UserError(f"{name!r}: {where} has no {wanted}{nearest(wanted, public)}")
    return getattr(module, wanted)


@contextlib.contextmanager
def loaded(path: str, spec: str, kept: pathlib.Path) -> Iterator[object]:
    """The class of a `source.Source`, from the files that were kept of it.

    Inside, its modules are those that were kept; afterwards those of the same names that were there before are back.

    Args:
      path: of its file, when it was kept.
      spec: of the source.
      kept: the folder that `source.keep` filled.

    Raises:
      UserError: it cannot be imported from there.
    """
    kept = kept.resolve()
    namesakes = _forget(lambda name, _: has(kept, name))
    try:
        try:
            found = load_object(spec, kept)
        except UserError as error:
            raise UserError(f"{spec} of {path} cannot be loaded from {kept}, where it is kept: {error}") from error
        yield found
    finally:
        _forget(lambda name, _: has(kept, name))
        sys.modules.update(namesakes)


def _import(where: str, folder: pathlib.Path, name: str) -> types.ModuleType:
    try:
        with on_path(folder):
            return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name and (where == error.name or where.startswith(f"{error.name}.")):
            raise UserError(f"{name!r}: there is no module {where}, neither installed nor in {folder}") from error
        raise UserError(f"{name!r}: {error}") from error
    except Exception as error:
        raise UserError(f"{name!r}: {where} cannot be imported: {type(error).__name__}: {error}") from error
