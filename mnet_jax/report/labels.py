"""Places for the words on a plot: beside their points, over nothing else."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text

_AWAY = (7, 14, 24, 38, 56, 80, 120)  # points of distance that are tried
_DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
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
) -> list[Text]:
    """Writes each label at the nearest place where it covers least; a thin line leads to one that had to go far.

    Call it when nothing else will move: limits, legend and layout are those of the finished figure.

    Args:
      axes: where.
      labels: what.
      markers: what must stay visible.
      lines: polygons and error bars, which should.
      taken: boxes in pixels (x0, y0, x1, y1), such as the legend's.
    """
    scale = axes.figure.dpi / 72
    heavy, light = _boxes(axes, markers, lines)
    heavy = np.vstack([heavy, *taken])
    pixels = _pixels(axes, markers)
    frame = np.array(axes.get_window_extent().extents)
    written = []
    for label in labels:
        own, text = _pixels(axes, [label.at])[0], _write(axes, label)
        size = text.get_window_extent().size
        best = None
        for away, direction in itertools.product(_AWAY, _DIRECTIONS):
            shift = np.multiply(direction, away) * (0.7 if all(direction) else 1)  # in points
            corner = own + shift * scale - size * (1 - np.array(direction)) / 2
            box = np.concatenate([corner, corner + size])
            is_misleading = _distances(box, pixels).min() < _distances(box, own[None]).min() - 1
            cost = 20 * _outside(box, frame) + 10 * _overlap(box, heavy) + 5 * _overlap(box, light)
            cost += np.prod(size) * (away / 100 + is_misleading / 4)
            if best is None or cost < best[0]:
                best = (cost, box, shift, direction, away > _AWAY[1] or is_misleading)
        _, box, shift, (right, up), is_far = best
        text.set(ha=("center", "left", "right")[right], va=("center", "bottom", "top")[up])
        text.xyann = (label.at[2] + shift[0], shift[1])
        if is_far:
            _lead(axes, own, box)
        heavy = np.vstack([heavy, box])
        written.append(text)
    return written


def is_over(axes: Axes, box: np.ndarray, markers: Sequence, lines: Sequence) -> bool:
    """Whether a box in pixels covers part of a marker or a line, which are as in `place`."""
    return any(_overlap(box, part) > 0 for part in _boxes(axes, markers, lines))


def _boxes(axes: Axes, markers: Sequence, lines: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (x0, y0, x1, y1) of markers, and of small pieces of lines."""
    radius = _RADIUS * axes.figure.dpi / 72
    heavy = [(*(point - radius), *(point + radius)) for point in _pixels(axes, markers)]
    light = [piece for line in lines for piece in _along(_pixels(axes, line))]
    return np.array(heavy).reshape(-1, 4), np.array(light).reshape(-1, 4)


def _write(axes: Axes, label: Label) -> Text:
    text = axes.annotate(label.text, label.at[:2], (0, 0), textcoords="offset points", fontsize=7.5, zorder=5)
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


def _distances(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """From a box to points, in pixels."""
    return np.hypot(*np.clip(np.maximum(box[:2] - points, points - box[2:]), 0, None).T)


def _overlap(box: np.ndarray, others: np.ndarray) -> float:
    """Area in square pixels."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(np.prod(np.clip(sides, 0, None), axis=1).sum())


def _outside(box: np.ndarray, frame: np.ndarray) -> float:
    width, height = box[2:] - box[:2]
    return float(width * height) - _overlap(box, frame[None])
