"""What a network can be trained for, as files, tables and plots know it; `train/tasks` computes the scores."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Score(NamedTuple):
    """A fraction in [0, 1] that an evaluation gives.

    Attributes:
      column: of the table, and key of `result.json`.
      words: as people read it.
      axis: as it stands beside an axis.
      error: column of its standard error over the test images; empty for a share of images, whose error is binomial.
    """

    column: str
    words: str
    axis: str
    error: str = ""

    @property
    def is_share(self) -> bool:
        """Whether it is a share of the images, with a binomial error."""
        return not self.error


SCORES: dict[str, tuple[Score, ...]] = {  # of each `config.task`; the first is what is drawn, compared and chosen by
    "classification": (Score("top1", "top-1", "top-1 accuracy"), Score("top5", "top-5", "top-5 accuracy")),
    "segmentation": (
        Score("miou", "mIoU", "mIoU", "miou_se"),
        Score("pixel_accuracy", "pixel accuracy", "pixel accuracy"),
    ),
}

TASKS = tuple(SCORES)


def scores_of(said: Mapping[str, Any]) -> tuple[Score, ...]:
    """Those of a resolved config or of a row of a table, by its "task"; what says none classifies."""
    return SCORES.get(said.get("task") or TASKS[0], SCORES[TASKS[0]])


def scores_in(rows: Iterable[Mapping[str, Any]]) -> list[Score]:
    """Those that rows have, of one task after the other; those of classification where there are no rows."""
    return list(dict.fromkeys(score for row in rows for score in scores_of(row))) or list(SCORES[TASKS[0]])
