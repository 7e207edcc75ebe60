"""Data sets as trials read them: as their source has them, or shrunk once to `config.data.cache_side`.

The cache is a folder of array_record files beside the prepared data set. Its name says the shorter side of the images,
the quality of the JPEGs, whether they were turned as EXIF states, and a fingerprint of the source, so that no change of
these is overlooked. A record is the label and the length of the file's name (`_HEADER`), that name, and the JPEG;
nothing where the source is damaged.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import struct
from collections.abc import Iterator, Sequence

import filelock
import simplejpeg
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from rich.console import Console
from rich.progress import Progress

from mnet_jax.data import checks, decode, orientation, provenance, sources
from mnet_jax.data.damage import Damage
from mnet_jax.data.sources import SPLIT_FIELDS
from mnet_jax.errors import UserError

_SHARD = 1024  # images in a file; what an interruption may cost
_HEADER = struct.Struct("<iH")
_COLORSPACES = {1: "GRAY", 3: "RGB"}


def check(data, fields: Sequence[str] = SPLIT_FIELDS) -> None:
    """Prepares the data set, looks for the splits that `fields` of the config name, and fills the cache, if any.

    Goes on where an earlier call was interrupted.

    Raises:
      UserError: as `checks.check`; or more than `config.data.max_bad_images` images are damaged.
    """
    checks.check(data, fields)
    if data.cache_side:
        for name in dict.fromkeys(
            part.splitname for field in fields if data[field] for part in _parts(data, data[field])
        ):
            _fill(data, name)


def open_split(data, split: str) -> Sequence[dict]:
    """As `sources.open_split`, from the cache if the config asks for one."""
    return _Cached(data, _parts(data, split)) if data.cache_side else sources.open_split(data, split)


def folder(data) -> pathlib.Path:
    """Where the cache of `config.data` is."""
    builder = sources.prepare(data)
    turned = "-turned" if orientation.is_due(data) else ""
    name = f"side{data.cache_side}-q{data.cache_quality}{turned}-{_fingerprint(builder)}"
    return pathlib.Path(builder.data_dir).parent / "cache" / name


class _Cached(Sequence):
    """Random access to cached examples, as a TFDS data source gives it."""

    def __init__(self, data, parts):
        records = [_records(data, part.splitname) for part in parts]
        self._ranges = [
            (whole, range(len(whole))[part.from_ : part.to]) for whole, part in zip(records, parts, strict=True)
        ]

    def __len__(self) -> int:
        return sum(len(indices) for _, indices in self._ranges)

    def __getitem__(self, i: int) -> dict:
        for records, indices in self._ranges:
            if i < len(indices):
                return _unpack(records[indices[i]])
            i -= len(indices)
        raise IndexError(i)

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        return [self[i] for i in indices]


def _parts(data, split: str) -> Sequence:
    """What a split such as "train[:100]+test" consists of: names of whole splits, and from where to where."""
    return tfds.core.ReadInstruction.from_spec(split).to_absolute(sources.prepare(data).info.splits)


def _fingerprint(builder: tfds.core.DatasetBuilder) -> str:
    splits = {name: [info.shard_lengths, info.num_bytes] for name, info in sorted(builder.info.splits.items())}
    made_from = provenance.digest(pathlib.Path(builder.data_dir))
    parts = [builder.info.full_name, splits, *([made_from] if made_from else [])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def _shards(data, name: str) -> list[pathlib.Path]:
    count = -(-sources.prepare(data).info.splits[name].num_examples // _SHARD)
    return [folder(data) / f"{name}-{i:05d}-of-{count:05d}.array_record" for i in range(count)]


def _records(data, name: str) -> ArrayRecordDataSource:
    paths = _shards(data, name)
    if missing := [path for path in paths if not path.exists()]:
        raise UserError(f"the cache lacks {missing[0]}; python -m mnet_jax.data.prepare makes it")
    return ArrayRecordDataSource([str(path) for path in paths])


def _fill(data, name: str) -> None:
    """Writes the files of a split that are not there yet."""
    home = folder(data)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"config.data.data_dir: cannot write {home}: {error.strerror}") from error
    paths = _shards(data, name)
    with filelock.FileLock(home / ".lock"):
        missing = [i for i, path in enumerate(paths) if not path.exists()]
        if not missing:
            return
        source, damage = sources.open_split(data, name), Damage(data)
        console = Console(stderr=True)
        with Progress(console=console) as progress, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            task = progress.add_task(f"{name} at {data.cache_side} pixels, in {home}", total=len(paths))
            progress.advance(task, len(paths) - len(missing))
            for i in missing:
                indices = range(i * _SHARD, min((i + 1) * _SHARD, len(source)))
                _write(paths[i], threads.map(lambda index: _packed(data, source[index], index, damage), indices))
                progress.advance(task)


def _write(path: pathlib.Path, records: Iterator[bytes]) -> None:
    """Readers see a whole file or none."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    writer = ArrayRecordWriter(str(temporary), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    os.replace(temporary, path)


def _packed(data, example: dict, index: int, damage: Damage) -> bytes:
    name = os.fsencode(example.get("file_name", f"number {index}"))
    try:
        pixels = decode.at_least(example["image"], data.channels, data.cache_side, orientation.is_due(data))
        jpeg = simplejpeg.encode_jpeg(pixels, data.cache_quality, _COLORSPACES[data.channels], "420")
    except decode.BadImage as error:
        damage.add(index, example, error)
        jpeg = b""
    return _HEADER.pack(example["label"], len(name)) + name + jpeg


def _unpack(record: bytes) -> dict:
    label, length = _HEADER.unpack_from(record)
    start = _HEADER.size + length
    return {"image": record[start:], "label": label, "file_name": record[_HEADER.size : start]}
