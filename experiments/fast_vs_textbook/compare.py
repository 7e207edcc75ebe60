"""Prints how far the losses of fast and textbook layers are apart, and their top-1: `compare.py WORKDIR`."""

import csv
import json
import pathlib
import sys

import numpy as np

STEPS = ((1, 1), (2, 10), (11, 50), (51, 100), (101, 200))


def main(workdir: pathlib.Path) -> None:
    with (workdir / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses, top1 = {}, {}
    for row in rows:
        key = ("textbook" if "textbook" in row["trial"] else "fast", int(row["seed"]))
        top1[key] = float(row["top1"])
        lines = (workdir / "trials" / row["trial"] / "metrics.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        losses[key] = np.array([entry["loss"] for entry in entries if "learning_rate" in entry])
    seeds = sorted({seed for _, seed in losses})
    print("largest |loss(fast) - loss(textbook)|, seeds", *seeds)
    for first, last in STEPS:
        part = slice(first - 1, last)
        apart = [np.abs(losses["fast", seed][part] - losses["textbook", seed][part]).max() for seed in seeds]
        print(f"  steps {first:>3} to {last:>3}:", *(f"{value:.1e}" for value in apart))
    between = [np.abs(losses["fast", a] - losses["fast", b]).mean() for a in seeds for b in seeds if a < b]
    same = [np.abs(losses["fast", seed] - losses["textbook", seed]).mean() for seed in seeds]
    print(f"mean |difference|: same seed {np.mean(same):.3f}, two seeds {np.mean(between):.3f}")
    for layers in ("fast", "textbook"):
        values = [top1[layers, seed] for seed in seeds]
        print(
            f"top-1 {layers}:", *values, f"mean {np.mean(values):.4f} standard deviation {np.std(values, ddof=1):.4f}"
        )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
