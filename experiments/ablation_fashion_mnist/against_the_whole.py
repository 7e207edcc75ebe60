"""Prints what each ablation is worth in points: `against_the_whole.py WORKDIR`.

Each network against the whole one of its family, and V1's narrow one against the shallow one, which costs about as
much. The noise of seeds is pooled over all networks; gaps are told apart among all of them (Holm).
"""

import collections
import math
import pathlib
import statistics
import sys

from scipy import stats

from mnet_jax.report.neighbours import holm
from mnet_jax.workdir import results
from mnet_jax.workdir.files import DONE

SETTINGS = ("model", "alpha", "separable", "shallow", "residual", "linear_bottleneck", "expansion")


def main(workdir: pathlib.Path) -> None:
    networks = collections.defaultdict(list)
    for row in results.read(workdir / "results.csv"):
        if row["status"] == DONE and row["chosen"]:  # not what was trained to choose a rate, or at one given up
            networks[tuple(row.get(name, row.get(f"model.{name}")) for name in SETTINGS)].append(row["top1"])
    df = sum(len(top1) - 1 for top1 in networks.values())
    sd = math.sqrt(sum(statistics.variance(top1) * (len(top1) - 1) for top1 in networks.values()) / df)
    of_v1, of_v2 = ([network for network in networks if network[0] == f"mobilenet_v{i}"] for i in (1, 2))
    pairs = [(network, own[0]) for own in (of_v1, of_v2) for network in own[1:]]
    (narrow,) = (network for network in of_v1 if network[1] != of_v1[0][1])
    (shallow,) = (network for network in of_v1 if network[3])
    pairs.append((narrow, shallow))
    gaps = [statistics.mean(networks[a]) - statistics.mean(networks[b]) for a, b in pairs]
    errors = [sd * math.sqrt(1 / len(networks[a]) + 1 / len(networks[b])) for a, b in pairs]
    told = holm([2 * stats.t.sf(abs(gap / error), df) for gap, error in zip(gaps, errors, strict=True)])
    print(f"standard deviation over seeds {sd:.4f}, {df} degrees of freedom; gaps in points")
    for (a, b), gap, error, is_told in zip(pairs, gaps, errors, told, strict=True):
        differ = [(name, own, other) for name, own, other in zip(SETTINGS, a, b, strict=True) if own != other]
        what = ", ".join(f"{name} {own} against {other}" for name, own, other in differ)
        half_width = 100 * stats.t.ppf(0.975, df) * error
        print(f"{a[0]}: {what}: {100 * gap:+.2f} +- {half_width:.2f}, {'' if is_told else 'not '}told apart")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
