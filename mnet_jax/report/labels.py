"""Places for the words on a plot: beside their points, over nothing else."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

_AWAY = (7, 14, 24, 38, 56, 80, 120)  # points of distance that are tried
_DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
_TRIED = [
    (away, direction, np.multiply(direction, away) * (0.7 if all(direction) else 1))
    for away, direction in itertools.product(_AWAY, _DIRECTIONS)
]  # the distance, the direction, and both as a shift in points
_RADIUS = 5  # of a marker, in points


Place = tuple[float, float, float]  # x and y in the axes' units, and a shift to the right in points


@dataclasses.dataclass(frozen=True)
class Label:
    """Words that belong to a point."""

    text: str
    at: Place


def place(
    axes: Axes,
    labels: Sequence[Label],
    markers: Sequence[Place],
    lines: Sequence[Sequence[Place]],
    taken: Sequence[np.ndarray] = (),
) -> int:
    """Writes each label at the nearest free place; a thin line leads to one that had to go far.

    Call it when nothing else will move: limits, legend and layout are those of the finished figure.

    Args:
      axes: where.
      labels: what.
      markers: what must stay visible.
      lines: polygons and error bars, which should.
      taken: boxes in pixels (x0, y0, x1, y1), such as the legend's.

    Returns:
      How many labels there is no room for: wherever they are tried, they would cover a marker, another label or what is
      taken, or leave the axes.
    """
    scale = axes.figure.dpi / 72
    heavy, light = _boxes(axes, markers, lines)
    heavy = np.vstack([heavy, *taken])
    pixels = _pixels(axes, markers)
    frame = np.array(axes.get_window_extent().extents)
    away, directions, shifts = (np.array(column) for column in zip(*_TRIED, strict=True))
    left_out = 0
    for label in labels:
        own, text = _pixels(axes, [label.at])[0], _write(axes, label)
        size = text.get_window_extent().size
        corners = own + shifts * scale - size * (1 - directions) / 2
        boxes = np.hstack([corners, corners + size])
        is_free = (boxes[:, :2] >= frame[:2]).all(1) & (boxes[:, 2:] <= frame[2:]).all(1)
        is_free[is_free] = _overlaps(boxes[is_free], heavy) == 0
        if not is_free.any():
            text.remove()
            left_out += 1
            continue
        is_misleading = _distances(boxes, pixels) < _distances(boxes, own[None]) - 1
        costs = 5 * _overlaps(boxes, light) + np.prod(size) * (away / 100 + is_misleading / 4)
        best = np.where(is_free, costs, np.inf).argmin()
        right, up = directions[best]
        text.set(ha=("center", "left", "right")[right], va=("center", "bottom", "top")[up])
        text.xyann = (label.at[2] + shifts[best][0], shifts[best][1])
        if away[best] > _AWAY[1] or is_misleading[best]:
            _lead(axes, own, boxes[best])
        heavy = np.vstack([heavy, boxes[best]])
    return left_out


def is_over(axes: Axes, box: np.ndarray, markers: Sequence, lines: Sequence) -> bool:
    """Whether a box in pixels covers part of a marker or a line, which are as in `place`."""
    return any(_overlaps(box[None], part)[0] > 0 for part in _boxes(axes, markers, lines))


def _boxes(axes: Axes, markers: Sequence, lines: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (x0, y0, x1, y1) of markers, and of small pieces of lines."""
    radius = _RADIUS * axes.figure.dpi / 72
    heavy = [(*(point - radius), *(point + radius)) for point in _pixels(axes, markers)]
    light = [piece for line in lines for piece in _along(_pixels(axes, line))]
    return np.array(heavy).reshape(-1, 4), np.array(light).reshape(-1, 4)


def _write(axes: Axes, label: Label) -> Text:
    text = axes.annotate(label.text, label.at[:2], (0, 0), textcoords="offset points", fontsize=7.5, zorder=5)
    text.set_path_effects([withStroke(linewidth=2, foreground="white")])
    text.set_in_layout(False)
    return text


def _lead(axes: Axes, point: np.ndarray, box: np.ndarray) -> None:
    """A thin line from a point to the nearest edge of a label's box."""
    near = (np.clip(point[0], box[0], box[2]), np.clip(point[1], box[1], box[3]))
    data = axes.transData.inverted().transform([point, near])
    line = axes.annotate("", data[1], data[0], arrowprops={"arrowstyle": "-", "color": "0.5", "lw": 0.6}, zorder=2.5)
    line.set_in_layout(False)


def _pixels(axes: Axes, places: Sequence[Place]) -> np.ndarray:
    x, y, shift = np.asarray(places, float).reshape(-1, 3).T
    return axes.transData.transform(np.stack([x, y], 1)) + np.stack([shift * axes.figure.dpi / 72, 0 * shift], 1)


def _along(corners: np.ndarray) -> list[np.ndarray]:
    """Small boxes on a line through some pixels."""
    found = []
    for start, end in itertools.pairwise(corners):
        count = max(2, int(np.hypot(*(end - start)) / 5))
        found += [np.concatenate([p - 1.5, p + 1.5]) for p in np.linspace(start, end, count)]
    return found


def _distances(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """From each box to the nearest of some points, in pixels."""
    low, high = boxes[:, None, :2] - points, points - boxes[:, None, 2:]
    return np.hypot(*np.moveaxis(np.clip(np.maximum(low, high), 0, None), -1, 0)).min(1)


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area of each box that others cover, in square pixels."""
    width, height = (
        np.clip(
            np.minimum(boxes[:, None, i + 2], others[:, i + 2]) - np.maximum(boxes[:, None, i], others[:, i]), 0, None
        )
        for i in (0, 1)
    )
    return (width * height).sum(1)
