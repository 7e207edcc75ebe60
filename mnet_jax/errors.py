"""Mistakes of the user: the one exception that is a message, not a defect, and the hint at what was meant."""

import contextlib
import difflib
import pathlib
from collections.abc import Iterator


class UserError(Exception):
    """Something the user can put right; the commands print it as one line and exit with 2."""


def nearest(name: str, known, prefix: str = "") -> str:
    """A hint at the known name that is closest to `name`; empty where none is close."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], 1)
    return f": did you mean {prefix}{close[0]}?" if close else ""


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
