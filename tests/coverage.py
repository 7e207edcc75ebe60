"""How often the law's intervals hold what they should: sweeps of a known law, simulated image by image.

    python -m tests.coverage

prints Markdown; `docs/law.md` has the figures. A grid of 4 alphas x 4 input sizes with accuracies of 0.80 to 0.91, 3
seeds and 10,000 test images, of which two trials of a cell judge 10% differently. One cell is left out; the interval
should hold its accuracy on new images. The truth is either at home in `logit_quadratic` or a power law with a floor.
"""

import itertools
import math
import sys

import numpy as np
from scipy import optimize, special, stats

from mnet_jax.report import bootstrap
from mnet_jax.report.cells import Family, families, label_of
from mnet_jax.report.forms import AXES, forms
from mnet_jax.report.law import fit_form
from mnet_jax.workdir.results import COLUMNS

ALPHAS, SIZES = (1.0, 0.75, 0.5, 0.25), (224, 192, 160, 128)
CORNER, INNER = (1.0, 224), (0.5, 160)
TRUTHS = ("logit_quadratic", "power_with_floor")
FORMS = ("logit_quadratic", "log_linear")

_LOWEST, _HIGHEST = 0.80, 0.91
_SEEDS, _IMAGES, _DISAGREEMENT = 3, 10_000, 0.10
_V1 = (-0.896, -0.366, -0.326, 0.208, 0.265, 0.082)  # the quadratic of the published V1: 1, la, lr, la^2, lr^2, la lr
_U, _V = 0.55, 0.44  # exponents of the published V1


def truth(name: str) -> dict[tuple, float]:
    """The accuracy of each cell on new images."""
    cells = list(itertools.product(ALPHAS, SIZES))
    la, lr = np.log([alpha for alpha, _ in cells]), np.log([size / SIZES[0] for _, size in cells])
    if name == "logit_quadratic":
        shape = -(np.stack([np.ones_like(la), la, lr, la**2, lr**2, la * lr], 1) @ _V1)
        low, high = special.logit((_LOWEST, _HIGHEST))
        top1 = special.expit(low + (high - low) * (shape - shape.min()) / np.ptp(shape))
    else:
        shape = np.exp(-_U * la - _V * lr)
        top1 = _HIGHEST - (_HIGHEST - _LOWEST) * (shape - 1) / (shape.max() - 1)
    return dict(zip(cells, top1, strict=True))


def sweep(top1: dict[tuple, float], seed_sd: float, rng: np.random.Generator) -> Family:
    """A simulated sweep, through its table and its bits.

    Args:
      top1: of the cells, on new images.
      seed_sd: standard deviation over seeds as seen on the test set, a fraction; part of it is chance with the images.
      rng: draws.
    """
    shared = _shared()
    own_sd = math.sqrt(seed_sd**2 - _DISAGREEMENT / 2 / _IMAGES)
    hardness = math.sqrt(shared) * rng.standard_normal(_IMAGES, np.float32)
    rows, bits = [], {}
    for (alpha, size), seed in itertools.product(top1, range(_SEEDS)):
        own = top1[alpha, size] + own_sd * rng.standard_normal()
        luck = np.float32(math.sqrt(1 - shared)) * rng.standard_normal(_IMAGES, np.float32)
        correct = hardness + luck <= special.ndtri(own)
        row = dict.fromkeys(COLUMNS) | {"trial": f"{label_of(alpha, size)},seed={seed}", "status": "done"}
        row |= {"model": "simulated", "alpha": alpha, "input_size": size, "seed": seed, "replicate": f"{alpha},{size}"}
        row |= {"mult_adds": int(alpha**2 * size**2 * 1e4), "top1": float(correct.mean()), "test_images": _IMAGES}
        rows.append(row)
        bits[row["trial"]] = correct
    (family,) = families(rows, bits)
    return family


def covered(family: Family, top1: dict[tuple, float], left_out: tuple, names=FORMS, draws: int = bootstrap.DRAWS):
    """Whether the intervals of forms that never saw a cell hold its accuracy."""
    index = list(top1).index(left_out)
    seen = family.without(index)
    drawn = bootstrap.draw(seen, draws)
    fits = [fit_form(seen, form, drawn) for form in forms(AXES) if form.name in names]
    intervals = [fit.interval(family.places[[index]])[:, 0] for fit in fits]
    return [bool(low <= top1[left_out] <= high) for low, high in intervals]


def coverage(truth_name: str, seed_sd: float, num_sweeps: int = 200, **options) -> np.ndarray:
    """The share of sweeps whose interval holds the cell that was left out, (CORNER and INNER, forms)."""
    rng, top1 = np.random.default_rng(0), truth(truth_name)
    sweeps = (sweep(top1, seed_sd, rng) for _ in range(num_sweeps))
    hits = [[covered(family, top1, cell, **options) for cell in (CORNER, INNER)] for family in sweeps]
    return np.mean(hits, axis=0)


def _shared() -> float:
    """The correlation of two trials at which they disagree as often as they should, at the middle of the range."""
    p = (_LOWEST + _HIGHEST) / 2
    at = [special.ndtri(p)] * 2

    def excess(shared):
        both = stats.multivariate_normal.cdf(at, cov=[[1, shared], [shared, 1]])
        return 2 * (p - both) - _DISAGREEMENT

    return optimize.brentq(excess, 0.1, 0.99)


def main() -> int:
    print("| truth | seed sd | form | corner left out | inner cell left out |\n| --- | --- | --- | --- | --- |")
    for name, seed_sd in itertools.product(TRUTHS, (0.003, 0.006)):
        for form, shares in zip(FORMS, coverage(name, seed_sd).T, strict=True):
            print(f"| {name} | {100 * seed_sd:.1f} | {form} | {shares[0]:.3f} | {shares[1]:.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
