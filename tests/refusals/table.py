"""The bad inputs and what they meet with, as `docs/refusals.md` has them."""

import re
from collections.abc import Iterable

from tests.refusals import of_data, of_exports, of_files, of_flags, of_python, of_values
from tests.refusals.case import Case
from tests.refusals.run import Outcome

SECTIONS = {
    "Config files": of_files.CASES,
    "Flags": of_flags.CASES,
    "Values": of_values.CASES,
    "Data": of_data.CASES,
    "Exports": of_exports.CASES,
    "Python": of_python.CASES,
}
_HEADER = """# Bad inputs, and what they meet with

Written by `python -m tests.refusals > docs/refusals.md`, which gives each command in a process of its own and checks
it; the tests compare. A mistake that can be seen without training ends a command with exit code 2 and one line on
stderr, before a workdir is made; in Python it raises `mnet_jax.UserError`. The config files start from `presets.get`;
what they and the other files hold is in `tests/refusals/`. $PWD is the folder of the command, MEMORY the machine's.
"""


def message(outcome: Outcome) -> str:
    """The line of the error, behind what a command said while it read data.

    Raises:
      AssertionError: there is not one such line, at the end; or the exit code is another, or something was made.
    """
    assert outcome.code is not None, f"not refused in time: {outcome.output}"
    *_, last = re.split(r"[\n\r]|\x1b\[A", outcome.output)
    found = re.fullmatch(r"\s*(?:error|UserError): (\S.*)", last)
    assert found, outcome.output
    assert outcome.output.count("rror: ") - found[1].count("rror: ") == 1, outcome.output
    assert "Traceback" not in outcome.output, outcome.output
    assert outcome.code == 2, outcome.output
    assert not outcome.made, outcome.made
    text = re.sub(r"(?<=there are )[\d.,]+ GiB$", "MEMORY", found[1])
    return re.sub(r"(?<=, line 6: )(Type|Attribute)Error: .*", r"\1Error: ...", text)  # of ml_collections


def check_of(message: str) -> str:
    """What looked: the message without the values in it."""
    return re.sub(r"'[^']*'|\([^)]*\)|\{[^}]*\}|\$PWD\S*|raw/\S*|config(\.\w+)+|\S*[\d/=]\S*", "_", message)


def as_markdown(messages: Iterable[str]) -> str:
    """Args:
    messages: of all cases, in the order of the sections.
    """
    messages = iter(messages)
    parts = [_HEADER]
    for title, cases in SECTIONS.items():
        rows = "".join(f"| {case.what} | {_code(case.command)} | {_cell(next(messages))} |\n" for case in cases)
        parts.append(f"## {title}\n\n| input | command | message |\n| --- | --- | --- |\n{rows}")
    return "\n".join(parts)


def cases() -> list[Case]:
    """Of all sections."""
    return [case for found in SECTIONS.values() for case in found]


def _code(command: str) -> str:
    return "<br>".join(f"`{_cell(line)}`" for line in command.splitlines())


def _cell(text: str) -> str:
    return re.sub(r"([|<>*])", r"\\\1", text) if not text.startswith(">>> ") else text.replace("|", r"\|")
