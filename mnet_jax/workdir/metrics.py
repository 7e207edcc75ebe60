"""What a trial reached while it trained, number by number."""

from collections.abc import Iterable, Mapping

from mnet_jax.workdir.files import TrialFolder

_NO_NUMBERS = ("step", "split", "total_steps")  # of a row of metrics.jsonl


def metrics(folder: TrialFolder) -> list[tuple[int, str, float]]:
    """Step, name such as "train/loss" or "validation/top1", and value of each number in metrics.jsonl, by step.

    A number that stands there twice, because its step was trained again, appears once, with its last value.
    """
    found = {
        (row["step"], name): value
        for row in folder.metrics()
        for name, value in numbers(row.get("split", "train"), row, row.keys() - _NO_NUMBERS).items()
    }
    return [(step, name, value) for (step, name), value in sorted(found.items(), key=lambda item: item[0][0])]


def numbers(prefix: str, row: Mapping, names: Iterable[str]) -> dict[str, float]:
    """Those of the names that have a number in a row, behind a prefix."""
    return {
        f"{prefix}/{name}": float(row[name])
        for name in sorted(names)
        if isinstance(row.get(name), int | float) and not isinstance(row[name], bool)
    }
