"""What a trial's folder says, as points, and the mark of what of it was sent."""

import contextlib
import dataclasses
import itertools
import pathlib
import uuid
from collections.abc import Iterable, Mapping

from mnet_jax.config.dotted import flatten
from mnet_jax.config.tasks import SCORES
from mnet_jax.sweep.trackers.contract import Point, Subject
from mnet_jax.workdir.files import DONE, TrialFolder
from mnet_jax.workdir.metrics import metrics, numbers
from mnet_jax.workdir.whole import Damaged, read_json, write_json

_TAGS = {"model": "model.name", "alpha": "model.alpha", "input_size": "input_size", "seed": "seed"}
_NO_SETTINGS = ("launch", "sweep", "tune", "tune_epochs", "chosen", "folder")  # of a config
_COSTS = ("mult_adds", "params")
_SCORES = (*(score.column for scores in SCORES.values() for score in scores), "loss")


@dataclasses.dataclass
class Mark:
    """What one tracker was sent of one subject; a file beside what is sent.

    Attributes:
      key: of the subject; it is there before anything is sent.
      status: the last that was told; None before the first.
      sent: by name of a number, its last step.
      pictures: by name, the digests of those that were sent.
      times: how often pictures were.
    """

    key: str = ""
    status: str | None = None
    sent: dict[str, int] = dataclasses.field(default_factory=dict)
    pictures: dict[str, str] = dataclasses.field(default_factory=dict)
    times: int = 0

    @classmethod
    def read(cls, path: pathlib.Path) -> "Mark":
        """The mark in a file; a new one where it is missing or damaged."""
        with contextlib.suppress(Damaged, TypeError):
            return cls(**read_json(path))
        return cls()

    def write(self, path: pathlib.Path) -> None:
        write_json(path, dataclasses.asdict(self))

    def keyed(self, path: pathlib.Path) -> "Mark":
        """With a key, which is kept before it is used: a run that was begun and not marked is found again by it."""
        if not self.key:
            self.key = uuid.uuid4().hex
            self.write(path)
        return self


def points(folder: TrialFolder, status: str) -> list[Point]:
    """The rows of metrics.jsonl and, once the trial is done, its result and what its network costs."""
    by_step: dict[int, dict[str, float]] = {}
    for step, name, value in metrics(folder):
        by_step.setdefault(step, {})[name] = value
    found = list(itertools.starmap(Point, by_step.items()))
    if status == DONE:
        result = folder.result()
        reached = numbers("test", result, _SCORES) | numbers("cost", folder.cost(), _COSTS)
        found.append(Point(result["steps"], reached))
    return found


def fresh(found: Iterable[Point], sent: Mapping[str, int]) -> tuple[list[Point], dict[str, int]]:
    """The numbers of later steps than were sent, and what will have been sent after them.

    Steps that are trained again are those of before, so they are left out.
    """
    new, after = [], dict(sent)
    for step, values in found:
        if later := {name: value for name, value in values.items() if step > after.get(name, -1)}:
            new.append(Point(step, later))
            after |= dict.fromkeys(later, step)
    return new, after


def subject(folder: TrialFolder, key: str) -> Subject:
    """A trial as trackers show it.

    Raises:
      Damaged: its config cannot be read.
    """
    flat = flatten(folder.config())
    sweep = folder.workdir().path.name
    tags = {name: str(flat[field]) for name, field in _TAGS.items() if flat.get(field) is not None}
    settings = {
        name: value for name, value in flat.items() if value is not None and name.split(".")[0] not in _NO_SETTINGS
    }
    costs = {name: folder.cost()[name] for name in _COSTS if name in folder.cost()}
    return Subject(key, folder.name, sweep, {"sweep": sweep, "trial": folder.name} | tags, settings | costs)
