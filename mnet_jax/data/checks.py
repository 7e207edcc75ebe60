"""Whether a data set has what a config asks of it, and what it holds in a line."""

import functools
import itertools
import pathlib
import sys
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from mnet_jax.data import copies, own, registry, sources
from mnet_jax.data.facts import facts
from mnet_jax.errors import UserError, nearest

_OF_THEIR_OWN = "such as --config.data.train_split=train[:90%] --config.data.validation_split=train[90%:]"
_ORDER = {"train": 0, "validation": 1, "test": 2}
_NAMED = 10  # most classes that are printed
_MISSING = {  # what to do about a split that a folder does not have
    "validation_split": "add val/, or set --config.data.validation_fraction above 0",
    "test_split": "add test/, or set --config.data.test_fraction above 0",
}


def check(data, fields: Sequence[str] = sources.SPLIT_FIELDS) -> None:
    """Prepares the data set, looks for the splits that `fields` of the config name, and says once what it holds.

    Raises:
      UserError: as `sources.prepare`; a split is unknown or empty; or what is prepared was made from something else.
    """
    for field in fields:
        if not (data[field] or field == "validation_split"):
            raise UserError(f"config.data.{field} is empty")
        try:
            tfds.core.ReadInstruction.from_spec(data[field] or "all")
        except ValueError as error:
            raise UserError(
                f"config.data.{field}={data[field]!r}: not in TFDS's notation, such as train, train[:90%], "
                "train[100:200] or train+test"
            ) from error
    if own.is_own(data):
        _check_before_preparing(data, fields)
    sources.check_provenance(data)
    builder = sources.prepare(data)
    sizes = {name: info.num_examples for name, info in builder.info.splits.items()}
    for field in fields:
        if data[field] and not sources.num_examples(builder, data[field]):
            raise _no_such_split(data, field, sizes)
    _say_once(summary(data))


def check_apart(data) -> None:
    """Refuses a validation split that shares images with another one: a choice on it would not be an honest one.

    Raises:
      UserError: which images are in both splits, and what to set.
    """
    infos = sources.prepare(data).info.splits
    for field in ("test_split", "train_split"):
        pairs = itertools.product(_ranges(data.validation_split, infos), _ranges(data[field], infos))
        shared = sum(max(0, min(a[2], b[2]) - max(a[1], b[1])) for a, b in pairs if a[0] == b[0])
        if shared:
            raise UserError(
                f"config.data.validation_split={data.validation_split!r} and config.data.{field}={data[field]!r} share "
                f"{shared} images: config.tune chooses on images of their own, {_OF_THEIR_OWN}"
            )


def _ranges(split: str, infos: tfds.core.splits.SplitDict) -> Iterator[tuple[str, int, int]]:
    """The name of a whole split, the first example in it, and the one behind the last, of each part of a split."""
    for part in tfds.core.ReadInstruction.from_spec(split).to_absolute(infos):
        size = infos[part.splitname].num_examples
        yield part.splitname, part.from_ or 0, size if part.to is None else min(part.to, size)


def _check_before_preparing(data, fields: Sequence[str]) -> None:
    """What would be in vain is not prepared.

    Raises:
      UserError: images differ in size where `config.data.crop` needs one, or there will be no such split.
    """
    facts(data)
    if own.is_builder(data) or copies.is_prepared(own.copy_folder(data)):
        return
    sizes = own.raw(data).sizes()
    for field in fields:
        if not set(_split_names(data[field])) <= set(sizes):
            raise _no_such_split(data, field, sizes)


def _split_names(split: str) -> list[str]:
    """Of whole splits, in "train[:100]+test"."""
    names = (part.partition("[")[0].strip() for part in split.split("+"))
    return [name for name in names if name not in ("", "all")]


def _no_such_split(data, field: str, sizes: dict[str, int]) -> UserError:
    known = ", ".join(f"{name} ({size})" for name, size in sizes.items())
    unknown = [name for name in _split_names(data[field]) if name not in sizes]
    close = nearest(unknown[0], sizes) if unknown else ""
    hints = [_MISSING[field]] if own.is_own(data) and data.name in registry.FOLDERS and field in _MISSING else []
    if field == "validation_split":
        hints.append(f"--config.data.{field}= evaluates none along the way")
    hint = "".join(f"; {text}" for text in hints)
    return UserError(f"config.data.{field}={data[field]!r}: no images there{close} (known splits: {known}){hint}")


def summary(data) -> str:
    """Such as "data set flowers: 3 classes (a, b, c), 48 train, 6 test images; left out: 1 hidden file".

    Raises:
      UserError: as `sources.prepare`.
    """
    builder, known = sources.prepare(data), facts(data)
    title = data.tfds_name or data.name
    if own.is_own(data) and data.name in registry.FOLDERS and data.source_dir:
        title = pathlib.Path(data.source_dir).resolve().name
    parts = []
    if known.class_names:
        names = [*known.class_names[: _NAMED - 1], "..."] if len(known.class_names) > _NAMED else known.class_names
        parts.append(f"{known.num_classes} classes ({', '.join(names)})")
    elif known.num_classes:
        parts.append(f"{known.num_classes} classes")
    sizes = sorted(builder.info.splits.items(), key=lambda split: _ORDER.get(split[0], len(_ORDER)))
    parts += [f"{info.num_examples:,} {name}" for name, info in sizes]
    line = f"data set {title}: {', '.join(parts)} images"
    if own.is_own(data) and not own.is_builder(data):
        left_out = copies.metadata(pathlib.Path(builder.data_dir))["left_out"]
        line += f"; left out: {left_out}" if left_out else ""
    return line


@functools.cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)
