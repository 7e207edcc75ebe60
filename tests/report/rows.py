"""Rows of tables: costs follow from the settings, accuracies are invented."""

import itertools

from mnet_jax.workdir import results


def row_of(i=0, **own):
    own = {key.replace("__", "."): value for key, value in own.items()}
    row = dict.fromkeys(results.COLUMNS) | {"trial": f"trial-{i}", "status": "done", "model": "mobilenet_v1"}
    row |= {"alpha": 1.0, "input_size": 28, "seed": 0, "epochs": 3.0, "dataset": "mnist5k", "test_images": 1000}
    row |= own
    size, width = row["input_size"], own.get("model.width", 32) * (row["alpha"] or 1)
    row |= {"mult_adds": int(width**2 * size**2 * own.get("model.depth", 1)), "params": int(width**2 * 100)}
    row |= {"top1": 0.5 + i % 97 / 300, "top5": 1.0, "loss": 0.5, "steps": 10}
    return row | {"replicate": repr(sorted((k, repr(v)) for k, v in own.items() if k not in results.SEEDS))}


def product(**values):
    names_, axes = zip(*values.items(), strict=True)
    return [row_of(i, **dict(zip(names_, cell, strict=True))) for i, cell in enumerate(itertools.product(*axes))]
