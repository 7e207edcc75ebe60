"""Weights & Biases: a run per trial in the group that is named like the workdir, as $WANDB_MODE and others say."""

import os
import pathlib
import struct
from collections.abc import Iterator, Sequence

from mnet_jax.errors import UserError
from mnet_jax.sweep.trackers.contract import Point, Subject
from mnet_jax.workdir.files import DONE, TUNED, Workdir

_LONGEST = 64  # characters of a tag


class _Run:
    """Rows go out at once, under a step of our own: W&B keeps the row of its own step back until the next one."""

    def __init__(self, run, sent: dict[str, int] | None):
        self._run, self.sent = run, sent
        run.define_metric("*", step_metric="step")

    def log(self, points: Sequence[Point]) -> None:
        for step, values in points:
            self._run.log({"step": step, **values}, commit=True)

    def show(self, pictures: Sequence[pathlib.Path], step: int) -> None:
        import wandb

        self._run.log({path.stem: wandb.Image(str(path)) for path in pictures}, commit=True)

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
        files = sorted(self._workdir.path.glob(f"wandb/offline-run-*-{subject.key}/*.wandb"))
        sent = _steps(files) if os.environ.get("WANDB_MODE") == "offline" else None
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
        self._runs[subject.key] = _Run(run, sent)
        return self._runs[subject.key]

    def close(self) -> None:
        for run in self._runs.values():
            run.close()


make = _Wandb


def _steps(files: Sequence[pathlib.Path]) -> dict[str, int]:
    """The last step of each number in offline files: what W&B held back when it was killed is not there."""
    from wandb.proto.wandb_internal_pb2 import Record

    steps: dict[str, int] = {}
    for content in (content for path in files for content in records(path.read_bytes())):
        items = {item.key or item.nested_key[0]: item.value_json for item in Record.FromString(content).history.item}
        if "step" in items:
            steps |= dict.fromkeys(items, int(items["step"]))
    return steps


def records(content: bytes) -> Iterator[bytes]:
    """Of a .wandb file: LevelDB's log, whose blocks of 32 KiB hold chunks of 7 bytes of header and data."""
    position, parts = 7, []
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", content, position + 4)
        if kind == 0 or position + 7 + length > len(content):
            return
        parts.append(content[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []
