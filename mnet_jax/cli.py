"""What the commands share: flags in, one line for a mistake, exit code out."""

import pathlib
import re
import sys
from collections.abc import Callable

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from mnet_jax.errors import UserError

_BAD_USAGE = 2


def run(main: Callable[[ConfigDict], int]) -> None:
    """Parses `--config` and the flags that are defined, calls `main` with the config, and exits with what it returns.

    A mistake of the user's (a flag, a field, a `UserError`) ends with one line on stderr and exit code 2.
    """
    config_flag = config_flags.DEFINE_config_file("config", help_string="Config file, with :PRESET for a data set.")

    def parse(argv: list[str]) -> list[str]:
        try:
            _check_config_path(argv)
            rest = flags.FLAGS(argv)
            if len(rest) > 1:
                raise UserError(f"unexpected argument {rest[1]!r}")
            return rest if config_flag.value else rest
        except (UserError, flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            _leave(_explain(error, argv))

    def call(_) -> int:
        try:
            return main(config_flag.value)
        except UserError as error:
            _leave(str(error))

    app.run(call, flags_parser=parse)


def config_path() -> tuple[pathlib.Path, str]:
    """The config file on the command line, and the preset behind the colon or ''."""
    path, _, preset = flags.FLAGS["config"].config_filename.partition(":")
    return pathlib.Path(path), preset


def default_workdir() -> pathlib.Path:
    """`runs/<config file's stem>`, with `-<preset>` where one was asked for."""
    path, preset = config_path()
    return pathlib.Path("runs") / "-".join(filter(None, (path.stem, preset)))


def _leave(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(_BAD_USAGE)


def _check_config_path(argv: list[str]) -> None:
    if any(re.fullmatch(r"--?help(short|full|xml)?|-\?", arg) for arg in argv):
        return
    for arg, following in zip(argv, [*argv[1:], ""], strict=True):
        if match := re.fullmatch(r"--?config(?:=(.*))?", arg):
            path = (match[1] if match[1] is not None else following).partition(":")[0]
            if not pathlib.Path(path).is_file():
                raise UserError(f"config file {path!r} does not exist")
            return
    raise UserError("--config FILE is missing, for example --config configs/width.py")


def _explain(error: BaseException, argv: list[str]) -> str:
    """One line for what config_flags raises; the whole text where the config file itself is broken."""
    text = str(error.args[0]) if isinstance(error, KeyError | AttributeError) and error.args else str(error)
    if hint := re.match(r"""['"]*(\w+)['"]*\n?(?:Did you mean "(\w+)")?""", text):
        for arg in argv:
            if isinstance(error, KeyError | AttributeError) and hint[1] in arg.partition("=")[0].split("."):
                nearest = f": did you mean {hint[2]}?" if hint[2] else ""
                return f"unknown field {arg.partition('=')[0].lstrip('-')}{nearest}"
    if "Traceback" in text:
        last = text.strip().splitlines()[-1]
        return last.partition("UserError: ")[2] or text
    return " ".join(text.split()).removeprefix("flag --")
