"""The trials of a sweep to a table and plots, from files alone.

    python -m mnet_jax.report --workdir DIR

collects `results.csv` anew from the folders of the trials; where only the table is left, as in `experiments/`, it is
read. Draws `accuracy_vs_mult_adds.png` and `accuracy_vs_params.png`.
"""

import argparse
import sys
from collections.abc import Sequence

from mnet_jax.errors import UserError
from mnet_jax.report.plots import draw
from mnet_jax.report.tables import as_summary, as_table
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mnet_jax.report", description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", required=True, help="folder of a sweep, with trials or a results.csv")
    workdir = Workdir(parser.parse_args(arguments).workdir)
    try:
        rows = results.results(workdir.path)
        if workdir.has_trials():
            results.write(workdir, rows)
        paths = draw(workdir)
    except UserError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"cannot write {workdir.path}: {error.strerror}")
    print(*filter(None, (as_table(rows), as_summary(rows))), sep="\n\n")
    print("\n".join(paths) or "no trial is done yet: nothing to draw")
    return 0


if __name__ == "__main__":
    sys.exit(main())
