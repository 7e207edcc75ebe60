"""Prints what V2 gains on V1 at equal cost: `at_equal_cost.py WORKDIR`.

Each V2 stands against a V1 of its cost, whose accuracy is interpolated in the logarithm of the cost between the two
V1s around it. The noise of seeds is pooled over all networks; gaps are told apart among all of them (Holm).
"""

import collections
import itertools
import math
import pathlib
import statistics
import sys

from scipy import stats

from mnet_jax.report.neighbours import holm
from mnet_jax.workdir import results
from mnet_jax.workdir.files import DONE

COSTS = ("mult_adds", "params")


def main(workdir: pathlib.Path) -> None:
    networks = collections.defaultdict(list)
    for row in results.read(workdir / "results.csv"):
        if row["status"] == DONE and row["chosen"]:  # not what was trained to choose a rate, or at one given up
            networks[row["model"], row["alpha"]].append(row)
    top1 = {network: [row["top1"] for row in rows] for network, rows in networks.items()}
    df = sum(len(of_seeds) - 1 for of_seeds in top1.values())
    sd = math.sqrt(sum(statistics.variance(of_seeds) * (len(of_seeds) - 1) for of_seeds in top1.values()) / df)
    gaps = []
    for cost in COSTS:
        costs = {network: rows[0][cost] for network, rows in networks.items()}
        of_v1 = sorted((network for network in networks if network[0] == "mobilenet_v1"), key=costs.get)
        for network in networks:
            for below, above in itertools.pairwise(of_v1):
                if network[0] == "mobilenet_v2" and costs[below] <= costs[network] <= costs[above]:
                    share = math.log(costs[network] / costs[below]) / math.log(costs[above] / costs[below])
                    parts = {network: 1.0, below: share - 1, above: -share}
                    gap = sum(weight * statistics.mean(top1[of]) for of, weight in parts.items())
                    error = sd * math.sqrt(sum(weight**2 / len(top1[of]) for of, weight in parts.items()))
                    gaps.append((network[1], cost, costs[network], gap, error))
    told = holm([2 * stats.t.sf(abs(gap / error), df) for *_, gap, error in gaps])
    print(f"standard deviation over seeds {sd:.4f}, {df} degrees of freedom; gaps in points, V2 minus V1")
    for (alpha, cost, amount, gap, error), is_told in zip(gaps, told, strict=True):
        half_width = 100 * stats.t.ppf(0.975, df) * error
        said = "told apart" if is_told else "not told apart"
        print(f"V2 {alpha}, {amount / 1e6:.2f} M {cost}: {100 * gap:+.2f} +- {half_width:.2f}, {said}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
