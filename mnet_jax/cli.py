"""What the commands share: a config file and flags in, one line for a mistake, exit code out."""

import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from absl import app, flags, logging

if TYPE_CHECKING:
    from mnet_jax.config.file import ConfigFile

from mnet_jax.errors import UserError, told

Overrides = list[tuple[str, str]]  # dotted keys and values, as they are written


def run(main: Callable, needs_config: bool = True, description: str = "") -> None:
    """Loads `--config FILE[:PRESET]`, parses the flags, calls `main`, and exits with what it returns.

    `main` gets a `config.file.ConfigFile`, or None where the command does not need one and there is none. A mistake of
    the user's (a flag, a field, a `UserError`) ends with one line on stderr and exit code 2; see `errors.told`.

    Args:
      main: of the command.
      needs_config: `--config` must be there.
      description: the module's docstring, which `--help` prints.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal may know no letters but ASCII's
    with told():
        argv, file = _parse(sys.argv, needs_config, description)
        if file is not None and flags.FLAGS.print_config:
            print(_fields_as_text(file))
            sys.stdout.flush()
            sys.exit(0)

    def call(_) -> int:
        logging.set_verbosity(logging.ERROR)
        with told():
            code = main(file)
            sys.stdout.flush()
            return code

    app.run(call, argv=argv, flags_parser=lambda rest: rest)


def default_workdir(file: "ConfigFile") -> pathlib.Path:
    """`runs/<config file's stem>`, with `-<preset>` where one was asked for."""
    return pathlib.Path("runs") / "-".join(filter(None, (file.path.stem, file.preset)))


def _parse(argv: Sequence[str], needs_config: bool, description: str) -> "tuple[list[str], ConfigFile | None]":
    """The arguments without the config's, and the config file with its overrides."""
    flags.DEFINE_bool("print_config", False, "Print every field of the config, its value and its origin.")
    spec, overrides, rest = _config_arguments(argv)
    if any(re.fullmatch(r"--?help(short|full)?|-\?|-h", argument) for argument in rest[1:]):
        print(_help(description))
        sys.exit(0)
    if not spec and (needs_config or overrides):
        raise UserError("--config FILE is missing, for example --config configs/width.py")
    try:
        unknown = flags.FLAGS(rest)[1:]
    except flags.Error as error:
        text = " ".join(str(error).split()).removeprefix("flag ")
        text = re.sub(r"\('Non-boolean argument to boolean flag', .*\)", "must be true or false", text)
        raise UserError(text) from error
    if unknown:
        raise UserError(f"unexpected argument {unknown[0]!r}")
    return rest[:1], None if spec is None else _load(spec, overrides)


def _config_arguments(argv: Sequence[str]) -> tuple[str | None, Overrides, list[str]]:
    """What follows `--config`, the overrides `--config.key=value`, and the other arguments."""
    spec, overrides, rest, left = None, [], [], list(argv)
    while left:
        argument = left.pop(0)
        match = re.fullmatch(r"--?(no)?config(\.[^=]*)?(?:=(.*))?", argument, re.DOTALL)
        if not match or not rest:
            rest.append(argument)
            continue
        negated, key, value = match.groups()
        if negated:
            value = "False"
        elif value is None and left and not left[0].startswith("--"):
            value = left.pop(0)
        if key is None:
            spec = value or ""
        else:
            overrides.append((key[1:], "True" if value is None else value))
    return spec, overrides, rest


def _load(spec: str, overrides: Overrides) -> "ConfigFile":
    from mnet_jax.config import file

    path, _, preset = spec.partition(":")
    return file.load(pathlib.Path(path), preset, overrides)


def _help(description: str) -> str:
    from mnet_jax.config.fields import FIELDS

    own = flags.FLAGS.flags_by_module_dict().get(sys.argv[0], [])
    shared = [flags.FLAGS["print_config"]]
    lines = [f"  --{flag.name}: {flag.help}" for flag in [*own, *shared]]
    return "\n".join(
        (
            description.strip(),
            "",
            "  --config FILE[:PRESET]: config file, and the preset of a data set",
            *lines,
            "  --config.FIELD=VALUE: any of these fields, and the network's options; --print_config shows values",
            *(f"    {field.key}: {field.help}" for field in FIELDS if not field.is_found),
        )
    )


def _fields_as_text(file: "ConfigFile") -> str:
    from mnet_jax.report.tables import table

    rows = [(key, repr(value), origin) for key, value, origin in file.origins()]
    return table(("field", "value", "origin"), rows, (False, False, False))
