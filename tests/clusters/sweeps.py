"""What is asked of every sweep on a cluster: the numbers of an undisturbed one, nothing trained twice or by two."""

import json
import pathlib
import re
from collections.abc import Iterator

from mnet_jax.workdir.files import TrialFolder

ALONE = "--config.launch.trials_per_stream=1"  # a group for each trial
SHORT = ("--config.train.epochs=0.5", ALONE)
LONG = ("--config.train.epochs=60.0", "--config.train.checkpoint_every_epochs=0.5", ALONE)


def trials(workdir: pathlib.Path) -> Iterator[TrialFolder]:
    return (TrialFolder(path) for path in sorted(workdir.glob("trials/*")))


def holders(folder: TrialFolder) -> list[dict]:
    """The events of `holders.jsonl`."""
    return [json.loads(line) for line in (folder.path / "holders.jsonl").read_text().splitlines()]


def assert_never_two_at_once(workdir: pathlib.Path) -> None:
    """By the log of the leases, which is written under the lock that guards them."""
    for folder in trials(workdir):
        holder = None
        for event in holders(folder):
            if event["event"] == "released":
                assert event["nonce"] == holder, f"{folder.name}: released by who did not hold it"
                holder = None
            else:
                assert holder is None or event["event"] == "taken over", f"{folder.name}: taken from {holder}"
                holder = event["nonce"]
        assert holder is None, f"{folder.name}: not released"


def assert_no_saved_step_twice(workdir: pathlib.Path) -> None:
    """Whoever went on began where the last one had saved."""
    for folder in trials(workdir):
        log, saved = folder.log_path.read_text(), 0
        for word, step in re.findall(r"(saved step|resumed from step) (\d+)", log):
            if word == "saved step":
                saved = int(step)
            else:
                assert int(step) >= saved, f"{folder.name}: step {saved} was saved, and then trained from {step}\n{log}"


def nodes(folder: TrialFolder) -> list[str]:
    """Where a trial was trained, in order."""
    return [event["node"] for event in holders(folder) if event["event"] != "released"]


def min_step(workdir: pathlib.Path) -> int:
    """The last step in the log of the trial that is least far; -1 where one has not begun."""
    steps = [max((row["step"] for row in folder.metrics()), default=-1) for folder in trials(workdir)]
    return min(steps, default=-1)
