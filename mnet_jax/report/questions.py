"""What `report` is asked on its command line, and the answers in words."""

from collections.abc import Sequence

from mnet_jax.errors import UserError, nearest
from mnet_jax.report.answers import Prediction, best, predict
from mnet_jax.report.findings import Finding
from mnet_jax.report.forms import AXES
from mnet_jax.report.law import Fit

_UNITS = {"k": 1e3, "m": 1e6, "g": 1e9}

Place = dict[str, float | int]  # by axis


def parse_place(text: str) -> Place:
    """What follows `--predict`, such as "alpha=0.6,input_size=176".

    Raises:
      UserError: an axis is not known or stands twice, or a value is no positive number.
    """
    place: Place = {}
    for part in text.split(","):
        axis, is_set, value = (piece.strip() for piece in part.partition("="))
        if not is_set:
            raise UserError(f"--predict {text}: {part!r} is no AXIS=VALUE, such as alpha=0.6,input_size=176")
        if axis not in AXES:
            hint = nearest(axis, AXES) or "; there are alpha and input_size"
            raise UserError(f"--predict {text}: there is no axis {axis!r} in the law{hint}")
        if axis in place:
            raise UserError(f"--predict {text}: {axis} stands there twice")
        place[axis] = _number(f"--predict {text}", axis, value)
    return place


def parse_budget(text: str) -> float:
    """What follows `--budget`: Mult-Adds, such as "100e6" or "100M".

    Raises:
      UserError: it is no positive number.
    """
    unit = _UNITS.get(text[-1:].lower(), 1.0)
    number = _positive(text[:-1] if unit > 1 else text)
    if number is None:
        raise UserError(f"--budget {text}: must be a positive number of Mult-Adds, such as 100e6 or 100M")
    return number * unit


def check_place(place: Place, findings: Sequence[Finding]) -> None:
    """That a place says all axes that vary.

    Raises:
      UserError: it does not.
    """
    for finding in findings:
        for axis in finding.family.axes:
            if axis not in place:
                levels = ", ".join(map(str, finding.family.levels[axis]))
                raise UserError(f"--predict: {axis} is missing, of which {finding.family.model} has {levels}")


def predicted(place: Place, findings: Sequence[Finding]) -> str:
    """The answer of each family to `--predict`."""
    lines = []
    for finding in findings:
        if finding.family.cells:
            levels = finding.family.levels
            alpha, size = (place.get(axis, levels[axis][0]) for axis in AXES)
            answer = predict(finding.law, alpha, size)
            said = answer if isinstance(answer, str) else prediction_as_text(answer, finding)
            lines.append(f"{finding.family.name}: {said}")
    return "\n".join(lines) or "no cell is done yet: nothing to predict from"


def afforded(budget: float, findings: Sequence[Finding]) -> str:
    """The answer of each family to `--budget`."""
    parts = [_best_as_text(budget, finding) for finding in findings if finding.family.cells]
    return "\n".join(parts) or "no cell is done yet: nothing to choose from"


def prediction_as_text(answer: Prediction, finding: Finding) -> str:
    """A score, its interval, which form says so, how it errs on cells left out, and the cost."""
    interval = "no interval"
    if answer.interval:
        low, high = answer.interval
        interval = f"95% [{100 * low:.1f}, {100 * high:.1f}], of {finding.law.source}"
    if answer.is_outside:
        cost = "WARNING: outside the grid's range, where no form is safe"
    elif answer.is_counted:
        cost = f"{in_millions(answer.mult_adds)} Mult-Adds, counted"
    else:
        cost = f"{in_millions(answer.mult_adds)} Mult-Adds, interpolated"
    said = f"{answer.label}: {finding.family.score.words} {100 * answer.score:.1f}%"
    return f"{said} ({interval}; {_form_as_text(answer.fit)}; {cost})"


def in_millions(mult_adds: float) -> str:
    return f"{mult_adds / 1e6:.4g} M"


def _form_as_text(fit: Fit) -> str:
    return (
        f"{fit.name}, which misses cells left out by {100 * fit.loo_mean:.2f} points, at most {100 * fit.loo_max:.2f}"
    )


def _best_as_text(budget: float, finding: Finding) -> str:
    family, answer = finding.family, best(finding.law, budget)
    lines = [f"{family.name}, at most {in_millions(budget)} Mult-Adds:"]
    if answer.cell is None:
        cheapest = min(family.cells, key=lambda cell: cell.mult_adds)
        lines.append(f"no cell: the cheapest is {cheapest.label} with {in_millions(cheapest.mult_adds)}")
    else:
        cost = in_millions(answer.cell.mult_adds)
        reached = f"{family.score.words} {100 * answer.cell.mean:.1f}%"
        lines.append(f"best of the cells: {answer.cell.label}, {reached}, {cost}, counted")
        if answer.rivals:
            is_any_seed = any(len(cell.scores) > 1 for cell in family.cells)
            names = ", ".join(cell.label for cell in answer.rivals)
            lines.append(f"not told apart from it: {names if is_any_seed else 'any other, with one seed'}")
    if answer.compound is not None:
        lines.append(f"best by the law: {prediction_as_text(answer.compound, finding)}")
    else:
        lines.append("no best split by the law: logit_quadratic, the one curved form, is not there or finds no place")
    if answer.beyond is not None:
        score, fit = answer.beyond
        lines.append(
            f"WARNING: the budget is outside the grid's range, where no form is safe; {_form_as_text(fit)}, says "
            f"{100 * score:.1f}%"
        )
    elif answer.is_outside:
        lines.append("WARNING: the budget is outside the grid's range, and no form was fitted that may be asked there")
    return "\n  ".join(lines)


def _number(where: str, axis: str, text: str) -> float | int:
    number = _positive(text)
    if number is None or (axis == "input_size" and not number.is_integer()):
        kind = "whole number of pixels" if axis == "input_size" else "number"
        raise UserError(f"{where}: {axis} must be a positive {kind}, not {text!r}")
    return int(number) if axis == "input_size" else number


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None
