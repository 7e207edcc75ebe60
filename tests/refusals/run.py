"""Bad inputs, given to commands: each in a process of its own, or in a copy of one that has imported everything."""

import contextlib
import importlib
import json
import os
import pathlib
import runpy
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.conftest import REPOSITORY
from tests.refusals.case import Case

_SECONDS = 120  # after which a command has not refused its input
_ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "JAX_NUM_CPU_DEVICES": "1"}
_PYTHON = """
import sys
import mnet_jax
try:
    exec(sys.argv[1])
except mnet_jax.UserError as error:
    print(f"UserError: {error}")
    sys.exit(2)
"""


class Outcome(NamedTuple):
    """Exit code, what was printed, how long it took, and what lies in the folder that did not before."""

    code: int | None
    output: str
    seconds: float
    made: tuple[str, ...]


def alone(case: Case) -> Outcome:
    """Gives the command as a user does."""

    def start(folder: pathlib.Path) -> tuple[int | None, str]:
        module, arguments = _command(case)
        flags = ["-c", _PYTHON, *arguments] if module is None else ["-m", module, *arguments]
        try:
            done = subprocess.run(
                [sys.executable, *flags],
                cwd=folder,
                env=os.environ | _ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            return None, str(error.output)
        return done.returncode, done.stdout

    return _observed(case, start)


@contextlib.contextmanager
def copies() -> Iterator:
    """A function like `alone` that forks a process which has imported everything."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.refusals.run"],
        cwd=REPOSITORY,
        env=os.environ | _ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def run(case: Case) -> Outcome:
            def start(folder: pathlib.Path) -> tuple[int | None, str]:
                print(json.dumps([str(folder), *_command(case)]), file=process.stdin, flush=True)
                return tuple(json.loads(process.stdout.readline()))

            return _observed(case, start)

        yield run
        process.stdin.close()


def _command(case: Case) -> tuple[str | None, list[str]]:
    """The module and its arguments; for the Python API None and the code."""
    if case.command.startswith(">>> "):
        return None, [case.command.removeprefix(">>> ").replace("\n>>> ", "\n")]
    name, *arguments = shlex.split(case.command)
    return f"mnet_jax.{name}", arguments


def _observed(case: Case, start) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name).resolve()
        case.lay_out(folder)
        before = _tree(folder)
        began = time.monotonic()
        code, output = start(folder)
        seconds = time.monotonic() - began
        made = tuple(sorted(path for path in _tree(folder) - before if _counts(path)))
        return Outcome(code, output.replace(str(folder), "$PWD").strip(), seconds, made)


def _counts(path: str) -> bool:
    """Bytecode is Python's; where data are prepared, only a set that was begun."""
    if path.split("/")[0] == "tfds":
        return "incomplete" in path or "array_record" in path
    return "__pycache__" not in path


def _tree(folder: pathlib.Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _serve() -> None:
    """Reads a folder, a module and its arguments per line, and answers with exit code and output."""
    _import_everything()
    for line in sys.stdin:
        folder, module, arguments = json.loads(line)
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if not child:
                os.setsid()
                _become(pathlib.Path(folder), module, arguments, output.fileno())
            code = _wait(child)
            output.seek(0)
            print(json.dumps([code, output.read().decode()]), flush=True)


def _import_everything() -> None:
    for name in ("data.cache", "evaluate", "pretrained.recipes", "sweep.run"):
        importlib.import_module(f"mnet_jax.{name}")


def _become(folder: pathlib.Path, module: str | None, arguments: list[str], output: int) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    sys.argv = [module or "-c", *arguments]
    code = 1
    try:
        exec(_PYTHON, {}) if module is None else runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int) -> int | None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, 9)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    _serve()
