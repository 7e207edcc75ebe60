"""mIoU on the validation scenes at each rate, with its gap to the rate before.

    python experiments/segmentation_scenes/rates.py runs/segmentation_rates

The standard error of a gap is paired by scene.
"""

import itertools
import pathlib
import sys

from mnet_jax.sweep.choice import look, paired_standard_error
from mnet_jax.workdir.files import Workdir

RATE = "optim.learning_rate"


def main(path: str) -> None:
    by_alpha = {}
    for place in sorted(pathlib.Path(path, "trials").iterdir()):
        folder = Workdir(path).trial(place.name)
        config = folder.config()
        rate = config["optim"]["learning_rate"]
        by_alpha.setdefault(config["model"]["alpha"], []).append(look(folder, {RATE: rate}))
    for alpha, tried in sorted(by_alpha.items(), reverse=True):
        tried.sort(key=lambda one: one.values[RATE])
        print(f"alpha {alpha}: " + ", ".join(f"{one.values[RATE]} gives {one.score:.4f}" for one in tried))
        for one, other in itertools.pairwise(tried):
            gap = 100 * (other.score - one.score)
            error = 100 * paired_standard_error(one.influence, other.influence)
            print(f"  {other.values[RATE]} - {one.values[RATE]}: {gap:+.2f} points, standard error {error:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
