"""How the plots' colours, markers and dashes look in a browser, on white and on a dark ground."""

import math
from typing import Any

from matplotlib.colors import to_hex, to_rgb

_BRIGHT_ENOUGH = 0.2  # relative luminance that is told from white and from a dark ground, by 3 to 1 and more
_DASHES = {"-": [], "--": [6, 3], ":": [1.5, 3], "-.": [6, 3, 1.5, 3]}


def color(found: Any) -> str:
    """A colour of matplotlib's in hexadecimal."""
    return to_hex(found)


def on_dark(found: Any) -> str:
    """The same on a dark ground: as it is, or with as much white in it as it takes to be seen."""
    rgb = to_rgb(found)
    share = next(part / 20 for part in range(21) if _luminance(_paler(rgb, part / 20)) >= _BRIGHT_ENOUGH)
    return to_hex(_paler(rgb, share))


def dash(found: Any) -> list[float]:
    """Lengths of what is drawn and left out, in turns."""
    return _DASHES[found] if isinstance(found, str) else list(found[1])


def shape(marker: str) -> str:
    """A marker as a path of SVG, of the same area as a square from -0.886 to 0.886."""
    return _SHAPES[marker]


def _paler(rgb: tuple[float, float, float], share: float) -> tuple[float, ...]:
    return tuple(part + share * (1 - part) for part in rgb)


def _luminance(rgb: tuple[float, ...]) -> float:
    """As the Web Content Accessibility Guidelines 2.2 define it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _closed(corners: list[tuple[float, float]], turn: float = 0.0) -> str:
    """A polygon, turned clockwise by degrees, scaled to the area that all shapes have."""
    area = abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, corners[1:] + corners[:1], strict=True))) / 2
    size, cos, sin = math.sqrt(math.pi / area), math.cos(math.radians(turn)), math.sin(math.radians(turn))
    turned = [(size * (x * cos - y * sin), size * (x * sin + y * cos)) for x, y in corners]
    return "M" + "L".join(f"{x:.3f},{y:.3f}" for x, y in turned) + "Z"


def _star(num_points: int, inner: float = 1.0) -> list[tuple[float, float]]:
    """The corners of a polygon, or of a star whose inner corners are nearer."""
    found = []
    for i in range(num_points * 2):
        far, angle = (inner if i % 2 else 1.0), math.pi * i / num_points
        if inner != 1.0 or i % 2 == 0:
            found.append((far * math.sin(angle), -far * math.cos(angle)))
    return found


_PLUS = [(1, 3), (1, 1), (3, 1), (3, -1), (1, -1), (1, -3), (-1, -3), (-1, -1), (-3, -1), (-3, 1), (-1, 1), (-1, 3)]
_SHAPES = {
    "o": "M-1,0a1,1,0,1,1,2,0a1,1,0,1,1,-2,0Z",
    "s": _closed(_star(4), 45),
    "D": _closed(_star(4)),
    "^": _closed(_star(3)),
    "v": _closed(_star(3), 180),
    "<": _closed(_star(3), -90),
    ">": _closed(_star(3), 90),
    "P": _closed(_PLUS),
    "X": _closed(_PLUS, 45),
    "*": _closed(_star(5, 0.45)),
    "p": _closed(_star(5)),
    "h": _closed(_star(6)),
}
