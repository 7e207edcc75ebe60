"""Gives every bad input to its command as a user does, and writes the table.

`python -m tests.refusals > docs/refusals.md` exits with 1 where a command does not refuse, or takes longer than three
seconds where it has nothing to read.
"""

import os
import sys
import tempfile

from tests.refusals import table
from tests.refusals.run import alone

_SECONDS = 3.0


def main() -> int:
    messages, complaints, slowest = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TFDS_DATA_DIR"] = folder
        for case in table.cases():
            outcome = alone(case)
            try:
                messages.append(table.message(outcome))
            except AssertionError as error:
                messages.append("NOT REFUSED")
                complaints.append(f"{case.what}: {case.command}: exit code {outcome.code}: {error}")
            if not case.reads:
                slowest = max(slowest, outcome.seconds)
                if outcome.seconds > _SECONDS:
                    complaints.append(f"{case.what}: {case.command}: {outcome.seconds:.1f} s")
    print(table.as_markdown(messages), end="")
    checks = {table.check_of(message) for message in messages}
    print(
        f"{len(messages)} bad inputs, {len(checks)} checks, the slowest without data {slowest:.1f} s",
        *complaints,
        sep="\n",
        file=sys.stderr,
    )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
