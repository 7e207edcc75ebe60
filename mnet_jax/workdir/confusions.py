"""mIoU of confusion matrices, its error, and what each image adds to it."""

import numpy as np


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """Of each class, (classes,), from pixels by class and by prediction; NaN where it is in neither."""
    intersection = np.diagonal(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - intersection
    return np.divide(intersection, union, out=np.full(len(union), np.nan), where=union > 0)


def influence(confusions: np.ndarray) -> np.ndarray:
    """How much mIoU moves with the weight of each image, (images,): its derivative, which sums to 0.

    Args:
      confusions: (images, classes, classes).
    """
    intersections = np.diagonal(confusions, axis1=1, axis2=2).astype(np.float64)
    unions = confusions.sum(axis=1) + confusions.sum(axis=2) - intersections
    all_unions = unions.sum(axis=0)
    occurs = all_unions > 0
    iou = intersections.sum(axis=0)[occurs] / all_unions[occurs]
    return ((intersections[:, occurs] - iou * unions[:, occurs]) / all_unions[occurs]).mean(axis=1)


def standard_error(confusions: np.ndarray) -> float | None:
    """Of mIoU over the images of a split, by the infinitesimal jackknife (Efron, 1982); None of one image."""
    count = len(confusions)
    return float(np.sqrt(np.sum(influence(confusions) ** 2) * count / (count - 1))) if count > 1 else None
