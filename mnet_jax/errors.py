"""Mistakes of the user: the one exception that is a message, not a defect, the hint at what was meant, and the exit."""

import contextlib
import difflib
import os
import pathlib
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

_BAD_USAGE = 2
_UNREAD = 1
_INTERRUPTED = 128 + signal.SIGINT


class UserError(Exception):
    """Something the user can put right; the commands print it as one line and exit with 2."""


def nearest(name: str, known, prefix: str = "") -> str:
    """A hint at the known name that is closest to `name`; empty where none is close."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], 1)
    return f": did you mean {prefix}{close[0]}?" if close else ""


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Ends the process in one line, or without a word, where a mistake, Ctrl-C or a closed pipe leaves the block."""
    try:
        yield
    except UserError as error:
        _leave(str(error), _BAD_USAGE)
    except KeyboardInterrupt:
        _leave("stopped by Ctrl-C", _INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # takes what is still to be printed
        sys.exit(_UNREAD)


@contextlib.contextmanager
def explained(path: pathlib.Path, *let_through: type[Exception]) -> Iterator[None]:
    """Turns what code of the user's raises into one line that names the file and the line in it."""
    try:
        yield
    except (UserError, *let_through):
        raise
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise UserError(f"{error.filename or path}{line}: {error.msg}") from error
    except OSError as error:
        named = f"{error.filename}: " if error.filename not in (None, str(path)) else ""
        raise UserError(f"{_place_in(path, error)}: {named}{error.strerror or error}") from error
    except (Exception, SystemExit) as error:
        inner = error.args[0] if error.args else None  # ml_collections wraps the errors of unknown fields
        text = " ".join(str(inner.args[0] if isinstance(inner, Exception) and inner.args else error).split())
        raise UserError(f"{_place_in(path, error)}: {type(error).__name__}: {text}") from error


def _place_in(path: pathlib.Path, error: BaseException) -> str:
    """The file, and the last line of it that an error went through, if it went through it."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in (str(path), str(path.resolve())):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path}, line {line}" if line else str(path)


def _leave(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
