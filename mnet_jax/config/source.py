"""What a class of one's own is made of: found in the text, hashed, and kept.

Those are the statements of its file, and of the files of one's own that it imports, which it uses, in turn, or which
have an effect when the file is executed. Comments and docstrings do not count, nor does what is only defined and not
used: other functions, constants, `get_config` and `sweep`, so a config file may hold the network that it sweeps.
"""

import ast
import builtins
import dataclasses
import functools
import hashlib
import io
import os
import pathlib
import shutil
import sys
import tokenize
from collections.abc import Iterator, Mapping

from mnet_jax.config import own
from mnet_jax.errors import UserError

_Statements = dict[tuple[pathlib.Path, int, int], str]  # by file, line and column

_BY_NAME = {"globals", "locals", "vars", "eval", "exec", "modules", "__getattr__"}  # what is used cannot be seen then


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a class stands, and what it is made of.

    Attributes:
      path: of its file.
      spec: "file.py:Class" or "package.module:Class", from the folder that it is imported from.
      fingerprint: of the statements that the class is made of.
      texts: of all files of one's own that its file imports, in turn, by path relative to that folder.
    """

    path: pathlib.Path
    spec: str
    fingerprint: str
    texts: Mapping[pathlib.PurePath, bytes]

    @functools.cached_property
    def digest(self) -> str:
        """Of the texts."""
        return _digest(
            "".join(f"{name} {hashlib.sha256(text).hexdigest()}\n" for name, text in sorted(self.texts.items()))
        )


@functools.cache
def source_of(cls: type) -> Source:
    """The source of a class, as it was when it was first asked for in this process.

    Raises:
      UserError: no other process could import the class: it stands in a notebook, a script or a function, is not what
        its module has under its name, or imports what lies in another folder.
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
    path = pathlib.Path(file).absolute()
    if own.is_executed(module):
        root, where = path.parent, path.name
    else:
        where = module.__name__
        root = path.parents[where.count(".") + (path.name == "__init__.py")]
    files = _Files(root, where.partition(".")[0] if own.is_installed(path) else None)
    statements: _Statements = {}
    for init in files.packages_of(path):
        _gather(init, files, set(), statements)
    _gather(path, files, {cls.__qualname__}, statements)
    text = "\n".join(f"{file.relative_to(root)}\n{code}" for (file, *_), code in sorted(statements.items()))
    return Source(
        path=path,
        spec=f"{where}:{cls.__qualname__}",
        fingerprint=_digest(text),
        texts={file.relative_to(root): file.read_bytes() for file in _needed(path, files)},
    )


def check_unchanged(source: Source) -> None:
    """Refuses a class of which this process has an older form than stands on disk.

    Raises:
      UserError: a file has changed since it was read.
    """
    root = source.path.parents[len(next(iter(source.texts)).parts) - 1]
    for name, text in source.texts.items():
        if (root / name).is_file() and (root / name).read_bytes() != text:
            raise UserError(
                f"{root / name} has changed since this process read it: start it anew (in a notebook: the kernel)"
            )


def keep(source: Source, folder: pathlib.Path) -> None:
    """Writes the files of a source as they lie under its root; all or none."""
    if all((folder / name).is_file() and (folder / name).read_bytes() == text for name, text in source.texts.items()):
        return
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    for name, text in source.texts.items():
        copy = temporary / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(text)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


@dataclasses.dataclass(frozen=True)
class _Files:
    """The files of one's own.

    Attributes:
      root: folder that absolute imports start from.
      package: the only one of one's own there, where other people's are installed beside it.
    """

    root: pathlib.Path
    package: str | None

    def packages_of(self, path: pathlib.Path) -> Iterator[pathlib.Path]:
        """The `__init__.py` that are executed before a file is."""
        for parent in path.parents:
            if self.root in parent.parents and (parent / "__init__.py").is_file():
                yield parent / "__init__.py"

    def imported(
        self, path: pathlib.Path, node: ast.Import | ast.ImportFrom
    ) -> Iterator[tuple[pathlib.Path, set[str] | None]]:
        """The files that an import statement in a file reads, each with the names used there, None for all."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                for file in self._named(self.root, alias.name):
                    yield from ((other, None) for other in (*self.packages_of(file), file))
            return
        folder = path.parents[node.level - 1] if node.level else self.root
        for alias in node.names:
            wanted = None
            files = list(self._named(folder, ".".join(filter(None, (node.module, alias.name)))))
            if not files and node.module:
                wanted = None if alias.name == "*" else {alias.name}
                files = self._named(folder, node.module)
            for file in files:
                yield from ((init, set()) for init in self.packages_of(file))
                yield file, wanted

    def _named(self, folder: pathlib.Path, module: str) -> Iterator[pathlib.Path]:
        top = module.partition(".")[0]
        if folder == self.root and (top == "mnet_jax" or self.package not in (None, top)):
            return
        base = folder.joinpath(*module.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                yield path
                return
        if folder == self.root and not own.has(folder, top) and (other := own.only_here(top)):
            raise UserError(
                f"{top}, which a network of one's own imports, lies in {other.parent}, not in {folder}: put both "
                "into one folder or package, so that the processes that train can import it"
            )


def _needed(path: pathlib.Path, files: _Files) -> list[pathlib.Path]:
    """The file, all files of one's own that it imports in turn, and the `__init__.py` of their packages."""
    found, todo = [], [path, *files.packages_of(path)]
    while todo:
        file = todo.pop(0)
        if file not in found:
            found.append(file)
            tree = ast.parse(_text(file))
            todo += [other for node in _imports(tree) for other, _ in files.imported(file, node)]
    return found


def _gather(path: pathlib.Path, files: _Files, wanted: set[str] | None, found: _Statements) -> None:
    """Adds the statements of a file that bind the wanted names, None for all, or have an effect, and what they use."""
    text = _text(path)
    bound, effects = _bindings(ast.parse(text))
    if wanted is None or not _BY_NAME.isdisjoint(token.string for token in _tokens(text)):
        wanted = set(bound)
    todo = [*effects, *(statement for name in wanted for statement in bound.get(name, ()))]
    while todo:
        statement = todo.pop()
        place = path, statement.lineno, statement.col_offset
        if place in found:
            continue
        found[place] = _code(text, statement)
        for node in _imports(statement):
            for file, names in files.imported(path, node):
                _gather(file, files, names, found)
        todo += [other for name in _used(statement) for other in bound.get(name, ())]


def _bindings(tree: ast.Module) -> tuple[dict[str, list[ast.stmt]], list[ast.stmt]]:
    """The statements of a module by the names that they bind, and those that do more when they are executed."""
    bound: dict[str, list[ast.stmt]] = {}
    effects = []
    used = {name for statement in tree.body for name in _used(statement)}
    for statement in tree.body:
        names = _bound_by(statement)
        for name in names:
            bound.setdefault(name, []).append(statement)
        if _has_effect(statement) or (isinstance(statement, ast.Import | ast.ImportFrom) and not names & used):
            effects.append(statement)
    return bound, effects


def _bound_by(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}  # what it binds inside is its own
    names = set()
    for node in ast.walk(statement):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Import() | ast.ImportFrom():
                names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return names


def _has_effect(statement: ast.stmt) -> bool:
    """Whether a statement may do more, when its file is executed, than bind names."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return bool(statement.decorator_list) or _calls(statement.args)
        case ast.ClassDef():  # one of one's own above it may note its heirs
            return bool(statement.decorator_list or statement.keywords) or any(
                not isinstance(base, ast.Attribute) for base in statement.bases
            )
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            parts = [part for target in targets for part in getattr(target, "elts", [target])]
            return not all(isinstance(part, ast.Name) for part in parts) or _calls(statement)
        case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
            return False
        case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))):
            return not name.startswith("register_")
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]), orelse=[]):
            return False
    return True


def _calls(node: ast.AST) -> bool:
    """Whether an expression calls more than functions of Python's own, such as `tuple(range(8, 64, 8))`."""
    return any(
        isinstance(call, ast.Call) and not (isinstance(call.func, ast.Name) and hasattr(builtins, call.func.id))
        for call in ast.walk(node)
    )


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def _used(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(path: pathlib.Path) -> str:
    with tokenize.open(path) as file:
        return file.read()


@functools.cache
def _tokens(text: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(text).readline))


def _code(text: str, statement: ast.stmt) -> str:
    """The lines of a statement without comments, docstrings and blank lines."""
    first = min([statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", ()))])
    lines = text.split("\n")
    for token in _tokens(text):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    lines = [line.encode() for line in lines]  # columns of a tree are bytes
    for node in ast.walk(statement):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node, False):
            docstring = node.body[0]
            rest = lines[docstring.end_lineno - 1][docstring.end_col_offset :]
            start = lines[docstring.lineno - 1][: docstring.col_offset]
            lines[docstring.lineno - 1 : docstring.end_lineno] = [b""] * (docstring.end_lineno - docstring.lineno + 1)
            lines[docstring.lineno - 1] = start + rest.lstrip(b"; ")
    kept = (line.decode().rstrip() for line in lines[first - 1 : statement.end_lineno])
    return "".join(f"{line}\n" for line in kept if line)
