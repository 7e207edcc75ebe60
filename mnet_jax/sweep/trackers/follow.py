"""What is new in the folders of trials, told to a tracker."""

import contextlib
import hashlib
import pathlib
from collections.abc import Sequence

from mnet_jax.sweep.trackers.contract import Run, Subject, Tracker
from mnet_jax.sweep.trackers.points import Mark, fresh, points, subject
from mnet_jax.workdir.files import DONE, QUEUED, RUNNING, TUNED, TrialFolder, Workdir
from mnet_jax.workdir.whole import Damaged


class Follower:
    """Follows the files of a workdir for one tracker.

    Training writes these files and knows nothing of trackers. What a mark or the tracker itself has already is not sent
    again, so whoever follows later catches up.

    Args:
      name: of the tracker, and of its marks.
      tracker: whatever it raises, `send` and `finish` raise.
      workdir: of the sweep.
    """

    def __init__(self, name: str, tracker: Tracker, workdir: Workdir):
        self._name, self._tracker, self._workdir = name, tracker, workdir
        self._runs: dict[str, Run] = {}
        self._seen: dict[str, tuple] = {}

    def send(self, folder: TrialFolder) -> bool:
        """Sends what is new of a trial; returns whether nothing more will come.

        The mark is written after that: where a kill comes in between, the tracker is asked what it has.
        """
        state = status, _ = folder.status(), folder.metrics_stamp()
        if self._seen.get(folder.name) != state:
            with contextlib.suppress(Damaged):
                self._send(folder, status)
            self._seen[folder.name] = state
        return status in (DONE, TUNED)

    def _send(self, folder: TrialFolder, status: str) -> None:
        path = self._mark_path(folder.path)
        mark, found = Mark.read(path), points(folder, status)
        new, sent = fresh(found, mark.sent)
        if not new and status == (mark.status or QUEUED):
            return
        run = self._runs.get(folder.name)
        if run is None:
            run = self._tracker.begin(subject(folder, mark.keyed(path).key))
            self._runs[folder.name] = run
            if run.sent is not None:
                new, sent = fresh(found, run.sent)
        if new:
            run.log(new)
        if status != RUNNING:
            run.end(status)
            del self._runs[folder.name]
        mark.sent, mark.status = sent, status
        mark.write(path)

    def finish(self, pictures: Sequence[pathlib.Path]) -> None:
        """Sends those pictures of the sweep that are new, and lets go of the tracker."""
        path = self._mark_path(self._workdir.path)
        mark = Mark.read(path)
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures}
        if new := [path for path in pictures if mark.pictures.get(path.name) != digests[path.name]]:
            sweep = self._workdir.path.absolute().name
            run = self._tracker.begin(Subject(mark.keyed(path).key, "sweep", sweep, {"sweep": sweep}))
            run.show(new, mark.times)
            run.end(DONE)
            mark.pictures |= digests
            mark.times += 1
            mark.write(path)
        self._tracker.close()

    def _mark_path(self, folder: pathlib.Path) -> pathlib.Path:
        return folder / f"tracked-{self._name}.json"
