"""TensorBoard: event files in `<workdir>/tensorboard/<trial>/`, read back to know what they have."""

import pathlib
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mnet_jax.sweep.trackers.contract import Point, Subject
from mnet_jax.workdir.files import Workdir


class _Run:
    """A folder of event files; each process appends one of its own, when it has something to write."""

    def __init__(self, path: pathlib.Path, subject: Subject):
        self._path, self._subject, self._writer = path, subject, None
        self._files = sorted(path.glob("events.out.tfevents.*"))
        self.sent = _steps(self._files)

    def log(self, points: Sequence[Point]) -> None:
        for step, values in points:
            self._write([{"tag": name, "simple_value": value} for name, value in values.items()], step)
        self._writer.flush()

    def show(self, pictures: Sequence[pathlib.Path], step: int) -> None:
        for path in pictures:
            content = path.read_bytes()
            width, height = struct.unpack(">II", content[16:24])  # of a PNG file
            image = {"width": width, "height": height, "colorspace": 4, "encoded_image_string": content}
            self._write([{"tag": path.stem, "image": image}], step)
        self._writer.flush()

    def end(self, status: str) -> None:
        if self._writer is not None:
            self._writer.close()

    def _write(self, values: list[dict[str, Any]], step: int) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        if self._writer is None:
            self._begin()
        summary = Summary(value=[Summary.Value(**value) for value in values])
        self._event(step=step, summary=summary)

    def _begin(self) -> None:
        """A file behind those that are there, in the order in which TensorBoard reads them."""
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import hparams

        self._path.mkdir(parents=True, exist_ok=True)
        self._writer = RecordWriter(str(self._path / f"events.out.tfevents.{len(self._files):010d}.mnet_jax"))
        self._event(file_version="brain.Event:2")
        if self._subject.fields and not self.sent:
            fields = {
                name: value if isinstance(value, bool | int | float | str) else str(value)
                for name, value in self._subject.fields.items()
            }
            experiment, start, _ = hparams(fields, {"test/top1": 0.0, "test/loss": 0.0})
            self._event(summary=experiment)
            self._event(summary=start)

    def _event(self, **content) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **content).SerializeToString())


class _TensorBoard:
    def __init__(self, workdir: Workdir):
        self._path = workdir.path / "tensorboard"

    def begin(self, subject: Subject) -> _Run:
        return _Run(self._path / subject.name, subject)

    def close(self) -> None:
        pass


make = _TensorBoard


def _steps(files: Sequence[pathlib.Path]) -> dict[str, int]:
    """The last step of each number."""
    from tensorboardX.proto.event_pb2 import Event

    steps: dict[str, int] = {}
    for content in (content for path in files for content in _records(path.read_bytes())):
        event = Event.FromString(content)
        for value in event.summary.value:
            if value.HasField("simple_value"):
                steps[value.tag] = max(steps.get(value.tag, -1), event.step)
    return steps


def _records(content: bytes) -> Iterator[bytes]:
    """Of a TFRecord file: 8 bytes of length, 4 of checksum, the record, 4 of checksum; a torn end is left out."""
    start = 0
    while start + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + 12 + length + 4
        if end > len(content):
            return
        yield content[start + 12 : end - 4]
        start = end
