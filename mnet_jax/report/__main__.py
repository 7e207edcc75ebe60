"""The trials of a sweep to a table, plots and a law, from files alone.

    python -m mnet_jax.report --workdir DIR [--workdir DIR2 ... --output DIR3]
    python -m mnet_jax.report --workdir DIR --predict alpha=0.6,input_size=176
    python -m mnet_jax.report --workdir DIR --budget 100e6
    python -m mnet_jax.report --workdir DIR --html [--open]
    python -m mnet_jax.report --workdir DIR --live [--open] [--port PORT]
    python -m mnet_jax.report --published mobilenet_v1 --output DIR
    python -m mnet_jax.report --workdir DIR --csv | --json | --markdown | --latex

collects `results.csv` anew from the folders of the trials; where only the table is left, as in `experiments/`, it is
read. Draws `accuracy_vs_mult_adds.png` and `accuracy_vs_params.png`, of segmentations `miou_vs_mult_adds.png` and its
like, and, of a tuned sweep, `tuning.png`, and writes `law.json`; where latencies were measured
`accuracy_vs_latency_ms_onnx_float32.png` and its like, and `int8.png` where trials were exported to int8. Several
workdirs become one table and one set of plots, in a folder of their own. `--published` does so for the papers'
accuracies on ImageNet. `--csv` and its like print the means over seeds alone, to paste, and write nothing. `--html`
adds `report.html`, a page to look at all of it in a browser; `--live` serves that page to this machine while a sweep
trains, and writes nothing.
"""

import argparse
import pathlib
import sys
import webbrowser
from collections.abc import Sequence
from typing import NoReturn

from mnet_jax.errors import UserError, nearest, told
from mnet_jax.report import findings, latencies, pasted, published, quantized, questions, tuning
from mnet_jax.report.plots import draw
from mnet_jax.report.tables import as_summary, as_table
from mnet_jax.workdir import predictions, results
from mnet_jax.workdir.files import TUNED, Workdir


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        _check(given)
        if given.form:
            print(pasted.FORMS[given.form](pasted.means(_rows(given, None))))
            return 0
        place = None if given.predict is None else questions.parse_place(given.predict)
        budget = None if given.budget is None else questions.parse_budget(given.budget)
        target = Workdir(given.output or given.workdir[0])
        if given.live:
            return _serve(given)
        rows = _rows(given, target)
        shares, remarks = ({}, []) if given.published else predictions.of_workdirs(given.workdir, rows)
        found = findings.find(rows, shares)
        if place is not None:
            questions.check_place(place, found)
        target.path.mkdir(parents=True, exist_ok=True)
        if given.output or target.has_trials():
            results.write(target, rows)
        if given.output and shares:
            predictions.write_all(target, shares)
        findings.write(target, found)
        paths = draw(target, found)
        tuned = tuning.read(given.workdir or ())
        if given.output and tuned.cells:
            target.set_tuning({"axes": tuned.axes, "cells": tuned.cells})
        paths += tuning.draw(target, tuned, rows)
        if given.html:
            paths.append(_write_page(given, target, rows, found))
    except UserError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"cannot write {target.path}: {error.strerror}")
    complaints = "\n".join(
        [*(f"{row['trial']} {row['status']}: {row['error']}" for row in rows if row["error"]), *remarks]
    )
    trials = as_table([row for row in rows if row["status"] != TUNED])
    deployed = (quantized.as_text(rows), latencies.as_text(rows))
    parts = (tuned.as_table(), trials, as_summary(rows), complaints, findings.as_text(found), *deployed)
    print(*filter(None, parts), sep="\n\n")
    print("\n".join(["", *paths]) if paths else "no trial is done yet: nothing to draw")
    if given.html and given.open:
        webbrowser.open(pathlib.Path(paths[-1]).absolute().as_uri())
    if place is not None:
        print("", questions.predicted(place, found), sep="\n")
    if budget is not None:
        print("", questions.afforded(budget, found), sep="\n")
    return 0


def _parser() -> _Parser:
    parser = _Parser(prog="python -m mnet_jax.report", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--workdir", action="append", help="folder of a sweep, with trials or a results.csv; repeatable"
    )
    parser.add_argument("--published", metavar="FAMILY", help=f"in place of a workdir: {' or '.join(published.GRIDS)}")
    parser.add_argument("--output", help="folder for the table and the plots, if not the workdir")
    parser.add_argument("--predict", metavar="PLACE", help="ask for a score: alpha=0.6,input_size=176")
    parser.add_argument("--budget", metavar="MULT_ADDS", help="ask for the best cell of at most as many: 100e6 or 100M")
    forms = parser.add_mutually_exclusive_group()
    for form in pasted.FORMS:
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help="print the means alone")
    parser.add_argument("--html", action="store_true", help="write report.html, one page that needs no network")
    parser.add_argument("--live", action="store_true", help="serve the page to this machine, and refresh it")
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    parser.add_argument("--port", type=int, help="of --live, if not any that is free")
    return parser


def _check(given: argparse.Namespace) -> None:
    """Raises UserError where flags are missing or contradict each other."""
    for flag in ("output", "predict", "budget", "html", "live", "open", "port") if given.form else ():
        if getattr(given, flag):
            raise UserError(f"--{flag} has no effect beside --{given.form}, which only prints the means")
    _check_page(given)
    if given.published is None and not given.workdir:
        raise UserError("--workdir DIR is missing, or --published FAMILY --output DIR")
    if given.published is not None:
        if given.workdir:
            raise UserError("--workdir has no effect beside --published, whose cells are the papers'")
        if given.published not in published.GRIDS:
            hint = nearest(given.published, published.GRIDS) or f"; there are {' and '.join(published.GRIDS)}"
            raise UserError(f"--published {given.published}: no published grid of that name{hint}")
        if given.output is None and not given.form:
            raise UserError("--published needs --output DIR, a folder for the table, the plots and law.json")
    elif len(given.workdir) > 1 and given.output is None and not (given.form or given.live):
        raise UserError("several workdirs need --output DIR, a folder for the table and the plots of all of them")


def _check_page(given: argparse.Namespace) -> None:
    """Raises UserError where the flags of the page contradict the others."""
    if given.open and not (given.html or given.live):
        raise UserError("--open shows a page: add --html, which writes one, or --live, which serves it")
    if given.port is not None and not given.live:
        raise UserError("--port has no effect without --live, which serves the page")
    if given.port is not None and not 0 < given.port < 65536:
        raise UserError(f"--port {given.port}: must be from 1 to 65535")
    if given.live:
        for name in ("html", "output", "published", "predict", "budget"):
            if getattr(given, name):
                raise UserError(f"--{name} has no effect beside --live, which serves workdirs and writes nothing")
    if given.html or given.live:
        from mnet_jax.report.page import charts

        charts.find_libraries()


def _write_page(given: argparse.Namespace, target: Workdir, rows: results.Rows, found: list) -> str:
    from mnet_jax.report.page import contents, document, folders

    return document.write(target, contents.contents(rows, found, folders.Folders(given.workdir or ())))


def _serve(given: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C."""
    from mnet_jax.report.page import live

    with live.server(given.workdir, given.port or 0) as server:
        host, port = server.server_address[:2]
        address = f"http://{host}:{port}/"
        print(f"{address} shows {', '.join(given.workdir)}, to this machine alone; Ctrl-C ends it", flush=True)
        if given.open:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def _rows(given: argparse.Namespace, target: Workdir | None) -> results.Rows:
    """What is to be reported, after a look at what is there already."""
    if given.output and target.has_trials():
        raise UserError(f"--output {given.output}: is a workdir with trials of its own; choose another folder")
    rows = published.table(given.published) if given.published else results.results(*given.workdir)
    if given.output and target.results_path.exists():
        left_out = {row["trial"] for row in results.read(target.results_path)} - {row["trial"] for row in rows}
        if left_out:
            raise UserError(f"--output {given.output}: its table has {min(left_out)}, which no --workdir has")
    return rows


if __name__ == "__main__":
    with told():
        sys.exit(main())
