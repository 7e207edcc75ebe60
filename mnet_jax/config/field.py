"""What a field of a config is declared with: type, default, range or choices, unit, effect, and a line of help."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from mnet_jax.errors import nearest

Flat = Mapping[str, Any]  # a resolved config by dotted key


@dataclasses.dataclass(frozen=True)
class Range:
    """Values that a number may have."""

    holds: Callable[[Any], bool]
    text: str

    def complaint(self, value: Any) -> str | None:
        return None if self.holds(value) else f": {self.text}"


@dataclasses.dataclass(frozen=True)
class Choices:
    """Words that a field may have."""

    known: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"one of {', '.join(self.known)}"

    def complaint(self, value: Any) -> str | None:
        return None if value in self.known else f"{nearest(value, self.known)} (known: {', '.join(self.known)})"


def _always(_: Flat) -> bool:
    return True


def never(_: Flat) -> bool:
    return False


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a config.

    Attributes:
      key: dotted.
      kind: type of its values.
      default: None where the field is unset, or follows the data.
      help: a line about it.
      rule: what its values may be.
      unit: of its values.
      has_effect: True where it can change the result of a resolved config with these values.
      follows: unset until it is resolved, so that imported weights can decide; the default stands where none do.
      is_found: found in the data, the weights or the network when a sweep starts; nobody sets it.
    """

    key: str
    kind: type
    default: Any
    help: str
    rule: Range | Choices | None = None
    unit: str = ""
    has_effect: Callable[[Flat], bool] = _always
    follows: bool = False
    is_found: bool = False

    def complaint(self, value: Any) -> str | None:
        """What is wrong with a value, or None; None is never wrong."""
        return self.rule.complaint(value) if self.rule and value is not None else None


POSITIVE = Range(lambda v: 0 < v < math.inf, "must be positive and finite")
NOT_NEGATIVE = Range(lambda v: 0 <= v < math.inf, "must be 0 or more, and finite")
FRACTION = Range(lambda v: 0 <= v < 1, "must be in [0, 1)")
