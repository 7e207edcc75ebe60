"""What the atrous convolutions of the head give, by alpha, on the same test scenes.

    python experiments/segmentation_scenes/heads.py experiments/segmentation_scenes

Paired by scene, from the shares in `predictions.npz`.
"""

import math
import sys

import numpy as np

from mnet_jax.workdir import predictions, results


def main(folder: str) -> None:
    rows = results.results(folder)
    shares, _ = predictions.of_workdirs([folder], rows)
    for alpha in sorted({row["alpha"] for row in rows}, reverse=True):
        own = {row["model.aspp"]: shares[row["trial"]] for row in rows if row["alpha"] == alpha}
        gaps = 100 * (own[True] - own[False])
        half_width = 1.96 * gaps.std(ddof=1) / math.sqrt(len(gaps))
        print(f"alpha {alpha:<4}  {np.mean(gaps):+.2f} points +- {half_width:.2f} (95%, of these checkpoints)")


if __name__ == "__main__":
    main(*sys.argv[1:])
