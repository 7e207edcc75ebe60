"""Prints how alike a grid ranks its networks and ImageNet does: `rank_correlation.py WORKDIR`.

The largest input size of the grid stands beside the published 224, the next beside 192, and so on.
"""

import collections
import pathlib
import statistics
import sys

from scipy.stats import spearmanr

from mnet_jax.cost import published
from mnet_jax.workdir import results
from mnet_jax.workdir.files import DONE

_SIZES = (224, 192, 160, 128)


def main(workdir: pathlib.Path) -> None:
    ours = collections.defaultdict(list)
    for row in results.read(workdir / "results.csv"):
        if row["status"] == DONE:  # not what was trained to choose a rate
            ours[row["alpha"], row["input_size"]].append(row["top1"])
    sizes = sorted({size for _, size in ours}, reverse=True)
    table = {
        (row["alpha"], row["input_size"]): (row["top1"], row["mult_adds"])
        for row in published.rows()
        if row["table"] == "TF-slim README, V1"
    }
    cells = [(alpha, size, _SIZES[sizes.index(size)]) for alpha, size in ours]
    means = [statistics.mean(ours[alpha, size]) for alpha, size, _ in cells]
    theirs = [table[alpha, size] for alpha, _, size in cells]
    print(f"{'alpha':>5}  size  top-1 (sd)       published at")
    for (alpha, size, of), mean, (top1, _) in zip(cells, means, theirs, strict=True):
        print(f"{alpha:5}  {size:4}  {mean:.4f} ({statistics.stdev(ours[alpha, size]):.4f})  {top1:.3f} {of}")
    top1, mult_adds = zip(*theirs, strict=True)
    print(f"Spearman, {len(cells)} means with the published top-1: {spearmanr(means, top1).statistic:.3f}")
    print(f"Spearman, published top-1 with published Mult-Adds:  {spearmanr(top1, mult_adds).statistic:.3f}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
