"""A workdir of many trials, written without training: configs, costs, curves, logs, and every status that there is."""

import json
import math

from tests.report.grids import BASE, smooth

ERROR = "RuntimeError: </script><img src=x onerror=alert(1)> & \u2028 'quoted' \"twice\""
_LAYERS = ("stem", *(f"block{i:02d}_{part}" for i in range(1, 14) for part in ("depthwise", "pointwise")), "head")


def simulate(path, alphas, sizes, seeds=(0,), broken=0, rows=60):
    """A grid; of its last `broken` trials one diverged, one is half written, one runs, one waits, the others failed.

    Args:
      path: of the workdir.
      alphas, sizes, seeds: whose product the trials are.
      broken: how many are not done.
      rows: of each trial's metrics.jsonl.
    """
    cells = [(alpha, size, seed) for alpha in alphas for size in sizes for seed in seeds]
    fates = ["done"] * (len(cells) - broken) + ["diverged", "half", "running", "queued", *["failed"] * broken][:broken]
    counted = {}
    for i, ((alpha, size, seed), fate) in enumerate(zip(cells, fates, strict=True)):
        name = f"alpha={alpha},input_size={size},seed={seed}-{i:08x}"
        folder = path / "trials" / name
        folder.mkdir(parents=True)
        scale = alpha**2 * (size / BASE) ** 2
        layers = [
            {"name": f"{layer}/conv", "kind": "conv_1x1", "output_shape": [size, size, int(32 * alpha)]}
            | {"mult_adds": int(1e6 * scale * (k + 1)), "params": int(1e3 * alpha**2 * (k + 1))}
            for k, layer in enumerate(_LAYERS)
        ]
        cost = {key: sum(layer[key] for layer in layers) for key in ("mult_adds", "params")}
        counted[name] = cost
        _write(folder / "cost.json", cost | {"layers": layers})
        _write(folder / "config.json", _config(alpha, size, seed))
        if fate == "half":
            (folder / "config.json").write_text('{"model": {"na')
            continue
        error = ERROR if fate in ("failed", "diverged") else None
        _write(folder / "status.json", {"status": fate, "error": error})
        if fate != "queued":
            _metrics(folder, rows if fate == "done" else rows // 3, rows, smooth(alpha, size))
            (folder / "log.txt").write_text("".join(f"{name}: line {line} <b>of</b> the log\n" for line in range(50)))
        if fate == "done":
            top1 = round(smooth(alpha, size) + 0.004 * (seed - (len(seeds) - 1) / 2), 3)
            _write(folder / "result.json", _result(top1))
    versions = {"python": "3.11.7", "jax": "0.10.2", "flax": None}
    axes = {"model.alpha": alphas, "input_size": sizes, "seed": seeds}
    told = {"axes": axes, "trials": counted, "versions": versions, "commit": "0123abcd", "is_dirty": True}
    told |= {"command": "python -m mnet_jax.sweep --config configs/grid.py"}
    _write(path / "sweep.json", told)
    return path


def with_columns(rows, **columns):
    """Rows with what was measured of each network; each column a function of a row."""
    return [row | {name: value(row) for name, value in columns.items()} for row in rows]


def _write(path, value):
    path.write_text(json.dumps(value))


def _config(alpha, size, seed):
    return {
        "model": {"name": "mobilenet_v1", "alpha": alpha, "num_classes": 10},
        "input_size": size,
        "seed": seed,
        "data": {"name": "mnist5k", "mean": [0.5]},
        "optim": {"learning_rate": 0.05},
        "train": {"epochs": 8.0, "batch_size": 32},
    }


def _metrics(folder, until, total, top1):
    lines = []
    for step in range(1, until + 1):
        row = {"step": step, "total_steps": total, "epoch": round(8 * step / total, 4)}
        lines.append(
            row | {"loss": 2.3 * math.exp(-3 * step / total), "learning_rate": 0.05 * (1 - step / (total + 1))}
        )
        if step % 10 == 0:
            lines.append(row | {"split": "validation", "top1": top1 * step / total, "top5": 1.0, "loss": 0.5})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 1, "tot')


def _result(top1):
    told = {"top1": top1, "top5": 0.99, "loss": 1 - top1, "test_images": 1000, "epochs": 8.0, "steps": 60}
    told |= {"images_per_second": 842.0, "wall_seconds": 12.3, "device": "1 x CPU (2 cores)"}
    return told | {"versions": {"python": "3.11.7", "jax": "0.10.2"}, "commit": "0123abcd", "is_dirty": False}


def finish_running(path, top1=0.9):
    """The running trial of a workdir reaches its end."""
    (folder,) = (path.parent for path in path.glob("trials/*/status.json") if '"running"' in path.read_text())
    _write(folder / "result.json", _result(top1))
    return folder.name
