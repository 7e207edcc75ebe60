"""What a tracker is."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Point(NamedTuple):
    """Numbers of one step by name, such as "train/loss" or "test/top1"."""

    step: int
    values: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Subject:
    """A trial, or the sweep itself, as a tracker shows it.

    Attributes:
      key: 32 hex digits that no other subject has; it keeps them for ever.
      name: of the trial's folder, or "sweep".
      sweep: name of the workdir.
      tags: what tells it from others, such as its alpha.
      fields: of its resolved config by dotted key, and what its network costs.
    """

    key: str
    name: str
    sweep: str
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Run(Protocol):
    """A subject at a tracker. Any method may raise anything, or take for ever.

    Attributes:
      sent: by name of a number the last step that the tracker has; None where it cannot say.
    """

    sent: Mapping[str, int] | None

    def log(self, points: Sequence[Point]) -> None:
        """Sends numbers; their steps never fall."""

    def show(self, pictures: Sequence[pathlib.Path], step: int) -> None:
        """Sends PNG files."""

    def end(self, status: str) -> None:
        """The subject does not run any more, for a while or for good; the status is of `workdir.files.STATUSES`."""


class Tracker(Protocol):
    """Made in the thread that uses it, from the workdir."""

    def begin(self, subject: Subject) -> Run:
        """The run of a subject: the one with its key, or else a new one."""

    def close(self) -> None:
        """Lets go of the runs that have not ended."""
