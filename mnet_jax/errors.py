"""Mistakes of the user: the one exception that is a message, not a defect, and the hint at what was meant."""

import difflib


class UserError(Exception):
    """Something the user can put right; the commands print it as one line and exit with 2."""


def nearest(name: str, known, prefix: str = "") -> str:
    """A hint at the known name that is closest to `name`; empty where none is close."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], 1)
    return f": did you mean {prefix}{close[0]}?" if close else ""
