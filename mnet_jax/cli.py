"""What the commands share: flags in, one line for a mistake, exit code out."""

import pathlib
import re
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from mnet_jax.errors import UserError

_BAD_USAGE = 2


def run(main: Callable[[ConfigDict | None], int], needs_config: bool = True) -> None:
    """Parses `--config` and the flags that are defined, calls `main` with the config, and exits with what it returns.

    Where the command does not need a config, `main` is called with None if there is none. A mistake of the user's (a
    flag, a field, a `UserError`) ends with one line on stderr and exit code 2.
    """
    config_flag = config_flags.DEFINE_config_file("config", help_string="Config file, with :PRESET for a data set.")

    def parse(argv: list[str]) -> list[str]:
        try:
            _check_config_path(argv, needs_config)
            rest = flags.FLAGS(argv)
            if len(rest) > 1:
                raise UserError(f"unexpected argument {rest[1]!r}")
            _ = config_flag.value  # loads the file
            return rest
        except Exception as error:
            _leave(_explain(error, argv))

    def call(_) -> int:
        logging.set_verbosity(logging.ERROR)
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


def _leave(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(_BAD_USAGE)


def _check_config_path(argv: list[str], needs_config: bool) -> None:
    if any(re.fullmatch(r"--?help(short|full|xml)?|-\?", arg) for arg in argv):
        return
    for arg, following in zip(argv, [*argv[1:], ""], strict=True):
        if match := re.fullmatch(r"--?config(?:=(.*))?", arg):
            path = (match[1] if match[1] is not None else following).partition(":")[0]
            if not pathlib.Path(path).is_file():
                raise UserError(f"config file {path!r} does not exist")
            return
    if needs_config:
        raise UserError("--config FILE is missing, for example --config configs/width.py")


def _explain(error: Exception, argv: list[str]) -> str:
    """One line for a mistake on the command line; the whole traceback where the config file itself is broken."""
    text = str(error)
    if isinstance(error, KeyError | AttributeError) and (unknown := re.search(r"\w+", text)):
        for flag in (arg.partition("=")[0].lstrip("-") for arg in argv if arg.startswith("--config.")):
            if unknown[0] in flag.split("."):
                known = re.search(r'Did you mean "(\w+)"', text)
                return f"unknown field {flag}" + (f": did you mean {known[1]}?" if known else "")
    if isinstance(error, UserError):
        return text
    if isinstance(error, flags.Error):
        if "Traceback" not in text:
            return " ".join(text.split()).removeprefix("flag --")
        return text.strip().splitlines()[-1].partition("UserError: ")[2] or text
    return "".join(traceback.format_exception(error))
