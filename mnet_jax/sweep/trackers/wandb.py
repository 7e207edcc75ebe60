"""Weights & Biases: a run per trial in the group that is named like the workdir, as $WANDB_MODE and others say."""

import os
import pathlib
from collections.abc import Sequence

from mnet_jax.errors import UserError
from mnet_jax.sweep.trackers.contract import Point, Subject
from mnet_jax.workdir.files import DONE, TUNED, Workdir

_LONGEST = 64  # characters of a tag


class _Run:
    """W&B numbers its steps itself and takes none twice: a run that is resumed drops those that it has."""

    sent = None

    def __init__(self, run):
        self._run = run

    def log(self, points: Sequence[Point]) -> None:
        for step, values in points:
            self._run.log(values, step=step)

    def show(self, pictures: Sequence[pathlib.Path], step: int) -> None:
        import wandb

        self._run.log({path.stem: wandb.Image(str(path)) for path in pictures}, step=step)

    def end(self, status: str) -> None:
        self._run.summary["status"] = status
        self.close(0 if status in (DONE, TUNED) else 1)

    def close(self, exit_code: int = 0) -> None:
        self._run.finish(exit_code)


class _Wandb:
    def __init__(self, workdir: Workdir):
        import wandb

        self._wandb, self._workdir = wandb, workdir
        self._runs: dict[str, _Run] = {}
        if os.environ.get("WANDB_MODE", "online") == "online" and not wandb.login(prompt=False):
            raise UserError("there is no login: run `wandb login`, or set WANDB_MODE=offline")

    def begin(self, subject: Subject) -> _Run:
        settings = self._wandb.Settings(
            silent=True, console="off", init_timeout=30, save_code=False, disable_git=True, x_disable_stats=True
        )
        run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "mnet_jax"),
            group=subject.sweep,
            id=subject.key,
            name=subject.name,
            tags=[
                f"{name}={value}"[:_LONGEST] for name, value in subject.tags.items() if name not in ("sweep", "trial")
            ],
            config=dict(subject.fields),
            dir=str(self._workdir.path),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )
        self._runs[subject.key] = _Run(run)
        return self._runs[subject.key]

    def close(self) -> None:
        for run in self._runs.values():
            run.close()


make = _Wandb
