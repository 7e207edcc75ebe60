"""Families of cells for the law: published ones, and grids of rows with accuracies of one's own."""

import itertools

from mnet_jax.report import published
from mnet_jax.report.cells import families, label_of
from mnet_jax.workdir import results

BASE = 28  # pixels


def published_family(model, *more):
    """The published grid of a network, with further cells (alpha, input_size, mult_adds, top1)."""
    rows = published.table(model)
    for alpha, size, mult_adds, top1 in more:
        own = {"alpha": alpha, "input_size": size, "mult_adds": mult_adds, "top1": top1}
        rows.append(rows[0] | own | {"trial": label_of(alpha, size)})
    (family,) = families(rows)
    return family


def row(alpha, size, top1, seed=0, **own):
    """A trial that is done, on 1,000 images of 10 classes."""
    found = dict.fromkeys(results.COLUMNS) | {"status": "done", "model": "mobilenet_v1", "alpha": alpha, "seed": seed}
    found |= {"trial": f"{label_of(alpha, size)},seed={seed}", "input_size": size, "top1": top1, "top5": 1.0}
    found |= {"mult_adds": int(1e7 * alpha**2 * (size / BASE) ** 2), "params": int(1e5 * alpha**2), "loss": 0.5}
    found |= {"dataset": "mnist5k", "test_images": 1000, "num_classes": 10, "epochs": 3.0, "steps": 10}
    return found | {"replicate": f"{alpha},{size},{sorted(own.items())}"} | own


def segmented(rows):
    """The same cells as networks that segment, with the accuracies as mIoU."""
    of_task = {"task": "segmentation", "model": "deeplab_mobilenet_v2", "top1": None, "top5": None}
    return [own | of_task | {"miou": own["top1"], "miou_se": 0.01, "pixel_accuracy": 0.9} for own in rows]


def smooth(alpha, size):
    """An accuracy that follows a power law with a floor: u = 0.6, v = 0.5, E = 0.05."""
    return 0.95 - 0.06 * alpha**-0.6 * (size / BASE) ** -0.5


def grid(alphas, sizes, seeds=(0,), top1=smooth, spread=0.0, **own):
    """Rows of all cells; the seeds lie `spread` apart around `top1`."""
    middle = (len(seeds) - 1) / 2
    return [
        row(alpha, size, top1(alpha, size) + spread * (i - middle), seed, **own)
        for alpha, size in itertools.product(alphas, sizes)
        for i, seed in enumerate(seeds)
    ]
