"""What a class of one's own is made of: found in the text, hashed, and kept.

Those are the statements of its file that it uses, in turn, and those of the files beside it, or in its package, that it
imports. Comments and docstrings do not count, nor do `get_config` and `sweep` unless the class uses them: a config file
may hold the network that it sweeps.
"""

import ast
import dataclasses
import functools
import hashlib
import io
import pathlib
import sys
import tokenize
from collections.abc import Iterator, Mapping

from mnet_jax.config import own
from mnet_jax.errors import UserError

_Statements = dict[tuple[pathlib.Path, str], str]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a class stands, and what it is made of.

    Attributes:
      path: of its file.
      spec: "file.py:Class" or "package.module:Class", from the folder that it is imported from.
      fingerprint: of the statements that the class is made of.
      texts: of all files that its own imports, by path relative to that folder.
    """

    path: pathlib.Path
    spec: str
    fingerprint: str
    texts: Mapping[pathlib.PurePath, bytes]


@functools.cache
def source_of(cls: type) -> Source:
    """The source of a class, as it was when it was first asked for in this process.

    Raises:
      UserError: no other process could import the class: it stands in a notebook, a script or a function, or is not
        what its module has under its name.
    """
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if cls.__module__ == "__main__" or file is None or "<locals>" in cls.__qualname__:
        place = "a function" if "<locals>" in cls.__qualname__ else "a notebook or a script"
        raise UserError(
            f"{cls.__qualname__} stands in {place}, where the processes that train cannot import it: write it to "
            f"a file of its own, such as my_network.py, named my_network.py:{cls.__name__} (or import it from there)"
        )
    if getattr(module, cls.__qualname__, None) is not cls:
        raise UserError(
            f"{cls.__qualname__}: {file} has no such class at its top level, so the processes that train cannot import "
            "it: define it there with a class statement"
        )
    path = pathlib.Path(file).resolve()
    if own.is_executed(module):
        root, where = path.parent, path.name
    else:
        where = module.__name__
        root = path.parents[where.count(".") + (path.name == "__init__.py")]
    statements: _Statements = {}
    _gather(path, root, {cls.__qualname__}, statements)
    text = "\n".join(f"{file.name} {name}\n{code}" for (file, name), code in sorted(statements.items()))
    return Source(
        path=path,
        spec=f"{where}:{cls.__qualname__}",
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        texts={file.relative_to(root): file.read_bytes() for file in _needed(path, root)},
    )


def keep(source: Source, folder: pathlib.Path) -> None:
    """Writes the files of a source into a folder, as they lie under its root; what is there stays as it is."""
    for name, text in source.texts.items():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            copy.write_bytes(text)


def _needed(path: pathlib.Path, root: pathlib.Path) -> list[pathlib.Path]:
    """The file, all files of one's own that it imports in turn, and the `__init__.py` of their packages."""
    found, todo = [], [path]
    while todo:
        file = todo.pop()
        if file in found or not file.is_file():
            continue
        found.append(file)
        todo += [parent / "__init__.py" for parent in file.parents if root in parent.parents]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                todo += [other for other, _ in _neighbours(file, root, node, None)]
    return found


def _gather(path: pathlib.Path, root: pathlib.Path, wanted: set[str] | None, found: _Statements) -> None:
    """Adds the statements of a file that bind or change the wanted names, None for all, and what they use in turn."""
    text = path.read_text()
    bound, others = _bindings(ast.parse(text))
    todo = [name for name in (bound if wanted is None else wanted) if name in bound]
    while todo:
        name = todo.pop()
        if (path, name) in found:
            continue
        found[path, name] = ""
        changing = [statement for statement in others if name in _used(statement)]
        for statement in [*bound[name], *changing]:
            found[path, name] += _code(text, statement)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for file, names in _neighbours(path, root, statement, name):
                    _gather(file, root, names, found)
            todo += [other for other in _used(statement) if other in bound]


def _used(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def _bindings(tree: ast.Module) -> tuple[dict[str, list[ast.stmt]], list[ast.stmt]]:
    """The statements of a module by the names that they bind, and those that bind none.

    The latter may change what a name stands for, as in `TABLE.append(8)`; to register a class does not.
    """
    bound: dict[str, list[ast.stmt]] = {}
    others = []
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
        if not names and not _registers(statement):
            others.append(statement)
    return bound, others


def _registers(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))):
            return name.startswith("register_")
    return False


def _neighbours(
    path: pathlib.Path, root: pathlib.Path, statement: ast.Import | ast.ImportFrom, name: str | None
) -> Iterator[tuple[pathlib.Path, set[str] | None]]:
    """The files of one's own that an import reads for a name, None for all, each with the names used there."""
    match statement:
        case ast.Import(names=aliases):
            for alias in aliases:
                if name in (None, alias.asname or alias.name.partition(".")[0]):
                    yield from ((file, None) for file in _files((path.parent, root), alias.name))
        case ast.ImportFrom(module=module, names=aliases, level=level):
            folders = (path.parents[level - 1],) if level else (path.parent, root)
            for alias in aliases:
                if alias.name == "*" or name in (None, alias.asname or alias.name):
                    inner = list(_files(folders, ".".join(filter(None, (module, alias.name)))))
                    yield from ((file, None) for file in inner)
                    if not inner and module:
                        yield from (
                            (file, None if alias.name == "*" else {alias.name}) for file in _files(folders, module)
                        )


def _files(folders: tuple[pathlib.Path, ...], module: str) -> Iterator[pathlib.Path]:
    """The file of a module, in the first of the folders that has it."""
    for folder in folders:
        base = folder.joinpath(*module.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                yield path
                return


def _code(text: str, statement: ast.stmt) -> str:
    """The lines of a statement without comments, docstrings and blank lines."""
    first = min([statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", ()))])
    lines = [line.encode() for line in text.splitlines()]  # columns are bytes
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = text.splitlines()[row - 1][:column].encode()
    for node in ast.walk(statement):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node, False):
            docstring = node.body[0]
            rest = lines[docstring.end_lineno - 1][docstring.end_col_offset :]
            start = lines[docstring.lineno - 1][: docstring.col_offset]
            lines[docstring.lineno - 1 : docstring.end_lineno] = [b""] * (docstring.end_lineno - docstring.lineno + 1)
            lines[docstring.lineno - 1] = start + rest.lstrip(b"; ")
    kept = (line.decode().rstrip() for line in lines[first - 1 : statement.end_lineno])
    return "".join(f"{line}\n" for line in kept if line)
