"""`config.data.classes`: a text file with the names of the class folders, one a line; that on line 1 has label 0."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable

from mnet_jax.data import class_folders
from mnet_jax.errors import UserError, nearest

ORDERS = ("image_folder", "imagenet", "imagenet_validation")  # data sets of class folders

_DIGITS = 16  # of a fingerprint


@dataclasses.dataclass(frozen=True)
class Order:
    """The classes that a file names.

    Attributes:
      file: as `config.data.classes` has it.
      names: by label.
    """

    file: str
    names: tuple[str, ...]

    def check(self, found: Iterable[str], place: pathlib.Path) -> None:
        """Compares the names with the class folders that were found in a folder.

        Raises:
          UserError: one has no folder, or a folder is not named.
        """
        found = set(found)
        for line, name in enumerate(self.names, 1):
            if name not in found:
                raise UserError(
                    f"config.data.classes={self.file!r}, line {line}: {place} has no folder {name!r}"
                    f"{nearest(name, sorted(found))}"
                )
        if unnamed := found - set(self.names):
            raise UserError(
                f"config.data.classes={self.file!r} does not name {class_folders.listed(unnamed)} of {place}: each "
                "folder needs a line"
            )

    def fingerprint(self) -> str | None:
        """Of the names; None where they are sorted, as they are without a file."""
        if self.names == class_folders.in_order(self.names):
            return None
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:_DIGITS]


def order_of(data) -> Order | None:
    """What the file says whose names `config.data.class_names` has; None where `config.data.classes` names none."""
    return Order(data.classes, tuple(data.class_names)) if data.classes else None


def read(data, folder: pathlib.Path) -> tuple[str, ...]:
    """The names in the file that `config.data.classes` names, by label.

    Args:
      data: `config.data`: `classes`, `name`, `tfds_name`.
      folder: of the config file; a relative path starts there.

    Raises:
      UserError: the data set has neither class folders nor masks of one's own; or as `names_in`.
    """
    field = f"config.data.classes={data.classes!r}"
    if data.tfds_name is not None or data.name not in (*ORDERS, "mask_folder"):
        raise UserError(
            f"{field} has no effect: data set {data.tfds_name or data.name} has no class folders to order (those that "
            f"have: {', '.join(ORDERS)})"
        )
    return names_in(folder / pathlib.Path(data.classes).expanduser(), "class", f"{field}: ")


def names_in(path: pathlib.Path, kind: str, prefix: str = "") -> tuple[str, ...]:
    """The names in a text file, one a line. A byte order mark, CRLF and blank lines at the end are no part of them.

    Args:
      path: of the file.
      kind: of what it names, for messages.
      prefix: of messages.

    Raises:
      UserError: there is no such file, or it is none: it is empty or no UTF-8, has a blank line between names, or a
        name twice.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise UserError(f"{prefix}cannot read {path}: {error.strerror}") from error
    try:
        text = encoded.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = encoded[: error.start].count(b"\n") + 1
        raise UserError(f"{prefix}{path}, line {line}: no UTF-8") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UserError(f"{prefix}{path}, line 1: it names no {kind}")
    first: dict[str, int] = {}
    for number, name in enumerate(lines, 1):
        if not name.strip():
            raise UserError(f"{prefix}{path}, line {number}: blank, and names follow")
        if name in first:
            raise UserError(f"{prefix}{path}, line {number}: {name!r} stands on line {first[name]}, too")
        first[name] = number
    return tuple(lines)
