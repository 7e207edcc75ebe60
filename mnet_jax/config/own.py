"""Code of one's own: classes named by `package.module:Name` or `path/to/file.py:Name`, and the source they are made of.

A file is executed once per process, under a name that no other module has, with its folder on the path. What a class is
made of is found in the text: the statements of its file that it uses, and those of the files beside it that it imports.
Neither `get_config`, `sweep`, comments nor docstrings count, so a config file may hold the network that it sweeps.
"""

import ast
import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import io
import pathlib
import shutil
import sys
import tokenize
import types
from collections.abc import Iterator

from mnet_jax.errors import UserError, nearest

_NO_PART = ("get_config", "sweep")  # of what a network is made of

_executed: dict[pathlib.Path, types.ModuleType] = {}


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a class stands.

    Attributes:
      root: folder from which it is imported.
      spec: "file.py:Class" or "package.module:Class", from there.
      fingerprint: of the statements that the class is made of.
      files: that hold them.
    """

    root: pathlib.Path
    spec: str
    fingerprint: str
    files: tuple[pathlib.Path, ...]

    @property
    def path(self) -> pathlib.Path:
        return self.files[0]


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
    module = types.ModuleType(f"_of_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    _forget_namesakes(path.parent)
    try:
        with explained(path), on_path(path.parent):
            exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    except UserError:
        del sys.modules[module.__name__]
        raise
    _executed[path] = module
    return module


def _forget_namesakes(folder: pathlib.Path) -> None:
    """So that a file imports what lies beside it, not what lay beside another one under the same name."""
    others = {path.parent for path in _executed} - {folder}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and pathlib.Path(path).parent in others and (folder / f"{name}.py").is_file():
            del sys.modules[name]


@contextlib.contextmanager
def explained(path: pathlib.Path, *let_through: type[Exception]) -> Iterator[None]:
    """Turns what code of the user's raises into one line that names the file and the line in it."""
    try:
        yield
    except (UserError, *let_through):
        raise
    except SyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except (Exception, SystemExit) as error:
        line = _line_in(path, error)
        raise UserError(f"{path}{f', line {line}' if line else ''}: {type(error).__name__}: {error}") from error


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


def load_kept(path: str, spec: str, kept: pathlib.Path) -> object:
    """The class of `Source.spec`: as the sweep keeps it, or where it stood when its package needs more than is kept.

    Args:
      path: of its file, when the sweep was started.
      spec: of its source.
      kept: the folder that `keep` filled.

    Raises:
      UserError: it is in neither place.
    """
    where = spec.partition(":")[0]
    if where.endswith(".py"):
        return load_object(spec, kept)
    root = pathlib.Path(path).parents[where.count(".")]
    with contextlib.suppress(UserError):
        return load_object(spec, root)
    return load_object(spec, kept)


def keep(source: Source, folder: pathlib.Path) -> None:
    """Copies the files of a source into a folder, as they lie under its root."""
    for path in source.files:
        copy = folder / path.relative_to(source.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)


@functools.cache
def source_of(cls: type) -> Source:
    """Where a class stands and what it is made of.

    Raises:
      UserError: no other process could import the class: it stands in a notebook, a script or a function.
    """
    module = sys.modules.get(cls.__module__)
    path = getattr(module, "__file__", None)
    if cls.__module__ == "__main__" or path is None or "<locals>" in cls.__qualname__:
        place = "a function" if "<locals>" in cls.__qualname__ else "a notebook or a script"
        raise UserError(
            f"{cls.__qualname__} stands in {place}, where the processes that train cannot import it: write it to "
            f"a file of its own, such as my_network.py, named my_network.py:{cls.__name__} (or import it from there)"
        )
    path = pathlib.Path(path).resolve()
    if module in _executed.values():
        root, where = path.parent, path.name
    else:
        where = module.__name__
        root = path.parents[where.count(".") + (path.name == "__init__.py")]
    statements: dict[tuple[pathlib.Path, str], str] = {}
    _gather(path, {cls.__qualname__.partition(".")[0]}, statements)
    text = "\n".join(f"{file.name} {name}\n{code}" for (file, name), code in sorted(statements.items()))
    files = dict.fromkeys((path, *sorted({file for file, _ in statements})))
    packages = {file.parent / "__init__.py" for file in files} | {
        parent / "__init__.py" for file in files for parent in file.parents if root in parent.parents
    }
    inits = [init for init in sorted(packages) if init.is_file() and root in init.parent.parents]
    return Source(
        root=root,
        spec=f"{where}:{cls.__qualname__}",
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        files=tuple(dict.fromkeys((*files, *inits))),
    )


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


def _line_in(path: pathlib.Path, error: BaseException) -> int | None:
    """The last line of the file that an error went through, if it went through it."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _gather(path: pathlib.Path, wanted: set[str] | None, found: dict[tuple[pathlib.Path, str], str]) -> None:
    """Adds the statements of a file that bind the wanted names, None for all, and what they use in turn."""
    text = path.read_text()
    bound = _bindings(ast.parse(text))
    todo = [name for name in (bound if wanted is None else wanted) if name in bound and name not in _NO_PART]
    while todo:
        name = todo.pop()
        if (path, name) in found:
            continue
        found[path, name] = ""
        for statement in bound[name]:
            found[path, name] += _code(text, statement)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for file, names in _neighbours(path, statement, name):
                    _gather(file, names, found)
            used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            todo += [other for other in used if other in bound and other not in _NO_PART]


def _bindings(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """The statements of a module by the names that they bind."""
    bound: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        names = set()
        for node in ast.walk(statement):
            match node:
                case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                    names.add(node.name)
                case ast.Name(ctx=ast.Store()):
                    names.add(node.id)
                case ast.Import() | ast.ImportFrom():
                    names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = {statement.name}  # what it binds inside is its own
        for name in names:
            bound.setdefault(name, []).append(statement)
    return bound


def _neighbours(path: pathlib.Path, statement: ast.stmt, name: str) -> Iterator[tuple[pathlib.Path, set[str] | None]]:
    """The files beside `path` that an import reads for a name, each with the names used there; None for all."""
    match statement:
        case ast.Import(names=aliases):
            for alias in aliases:
                if (alias.asname or alias.name.partition(".")[0]) == name:
                    yield from ((file, None) for file in _file(path.parent, alias.name))
        case ast.ImportFrom(module=module, names=aliases, level=level):
            folder = path.parents[max(level - 1, 0)]
            for alias in aliases:
                if alias.name == "*":
                    yield from ((file, None) for file in _file(folder, module or ""))
                elif (alias.asname or alias.name) == name:
                    inner = list(_file(folder, ".".join(filter(None, (module, alias.name)))))
                    yield from ((file, None) for file in inner)
                    if not inner and module:
                        yield from ((file, {alias.name}) for file in _file(folder, module))


def _file(folder: pathlib.Path, module: str) -> Iterator[pathlib.Path]:
    base = folder.joinpath(*module.split(".")) if module else folder
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            yield path
            return


def _code(text: str, statement: ast.stmt) -> str:
    """The lines of a statement without comments, docstrings and blank lines."""
    first = min([statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", ()))])
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(statement):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node, False):
            docstring = node.body[0]
            lines[docstring.lineno - 1 : docstring.end_lineno] = [""] * (docstring.end_lineno - docstring.lineno + 1)
    kept = (line.rstrip() for line in lines[first - 1 : statement.end_lineno])
    return "".join(f"{line}\n" for line in kept if line)
