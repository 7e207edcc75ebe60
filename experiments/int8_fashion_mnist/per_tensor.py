"""What each width loses in int8, per channel and per tensor, with bytes and latencies, as Markdown.

    python experiments/int8_fashion_mnist/per_tensor.py experiments/int8_fashion_mnist/results.csv

Differences are paired: of a network and its own twin. The standard error is over seeds.
"""

import math
import statistics
import sys

from mnet_jax.report.points import replicates
from mnet_jax.workdir import results

_HEADER = ("alpha", "float32", "int8", "lost", "per tensor", "lost", "bytes", "int8", "ms", "int8 ms", "JAX ms")


def main(path: str) -> None:
    print("| " + " | ".join(_HEADER) + " |", "|---" * len(_HEADER) + "|", sep="\n")
    for same in replicates([row for row in results.read(path) if row["status"] == "done"]):
        first = same[0]
        cells = [
            f"{first['alpha']}",
            f"{_mean(same, 'top1'):.4f}",
            f"{_mean(same, 'top1_int8'):.4f}",
            _lost(same, "top1_int8"),
            f"{_mean(same, 'top1_int8_per_tensor'):.4f}",
            _lost(same, "top1_int8_per_tensor"),
            *(f"{_mean(same, f'bytes_{kind}') / 1000:,.0f} k" for kind in ("float32", "int8")),
            *(f"{first[f'latency_ms_{kind}']:.3f}" for kind in ("onnx_float32", "onnx_int8", "jax_float32")),
        ]
        print("| " + " | ".join(cells) + " |")


def _mean(same, column: str) -> float:
    return statistics.mean(row[column] for row in same)


def _lost(same, column: str) -> str:
    lost = [100 * (row["top1"] - row[column]) for row in same]
    return f"{statistics.mean(lost):.2f} +- {statistics.stdev(lost) / math.sqrt(len(lost)):.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
