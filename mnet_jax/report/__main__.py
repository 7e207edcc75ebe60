"""The trials of a sweep to a table and plots, from files alone.

    python -m mnet_jax.report --workdir DIR [--workdir DIR2 ... --output DIR3]

collects `results.csv` anew from the folders of the trials; where only the table is left, as in `experiments/`, it is
read. Draws `accuracy_vs_mult_adds.png` and `accuracy_vs_params.png`. Several workdirs become one table and one pair of
plots, in a folder of their own.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from mnet_jax.errors import UserError, told
from mnet_jax.report.plots import draw
from mnet_jax.report.tables import as_summary, as_table
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _Parser(prog="python -m mnet_jax.report", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--workdir", required=True, action="append", help="folder of a sweep, with trials or a results.csv; repeatable"
    )
    parser.add_argument("--output", help="folder for the table and the plots, if not the workdir")
    given = parser.parse_args(arguments)
    if len(given.workdir) > 1 and given.output is None:
        parser.error("several workdirs need --output DIR, a folder for the table and the plots of all of them")
    target = Workdir(given.output or given.workdir[0])
    if given.output and target.has_trials():
        parser.error(f"--output {given.output}: is a workdir with trials of its own; choose another folder")
    try:
        rows = results.results(*given.workdir)
        if given.output and target.results_path.exists():
            left_out = {row["trial"] for row in results.read(target.results_path)} - {row["trial"] for row in rows}
            if left_out:
                parser.error(f"--output {given.output}: its table has {min(left_out)}, which no --workdir has")
        target.path.mkdir(parents=True, exist_ok=True)
        if given.output or target.has_trials():
            results.write(target, rows)
        paths = draw(target)
    except UserError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"cannot write {target.path}: {error.strerror}")
    complaints = "\n".join(f"{row['trial']} {row['status']}: {row['error']}" for row in rows if row["error"])
    print(*filter(None, (as_table(rows), as_summary(rows), complaints)), sep="\n\n")
    print("\n".join(paths) or "no trial is done yet: nothing to draw")
    return 0


if __name__ == "__main__":
    with told():
        sys.exit(main())
