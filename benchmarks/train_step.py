"""Our step beside the textbook one and other frameworks': `python -m benchmarks.train_step --help`."""

import argparse
import itertools
import pathlib
import sys

from benchmarks import contest, measurements, roofline
from benchmarks.contenders.worker import CONTENDERS
from benchmarks.task import Task

_MODELS = ("mobilenet_v1", "mobilenet_v2")
_CONTENDERS = [name for name in CONTENDERS if name != "ours_least"]  # which on a CPU is ours


def main() -> None:
    args = _parse()
    report = {"command": " ".join(["python -m benchmarks.train_step", *sys.argv[1:]]), "tasks": []}
    for model, alpha, size, batch in itertools.product(args.model, args.alpha, args.input_size, args.batch_size):
        task = Task(model, alpha, size, batch, args.dtype, args.inference)
        held, left_out = contest.hold(args.contenders, task, dict(args.python), args.turns, args.turn_seconds)
        _print(task, held)
        results = {name: vars(result) for name, result in held.items()}
        report["tasks"].append({"task": vars(task), "results": results, "left_out": left_out})
        measurements.save(report, args.json)
    if args.bandwidth:
        _print_bound(report)
        measurements.save(report, args.json)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", choices=_MODELS, default=_MODELS)
    parser.add_argument("--alpha", nargs="+", type=float, default=[1.0, 0.25])
    parser.add_argument("--input_size", nargs="+", type=int, default=[128], help="in pixels")
    parser.add_argument("--batch_size", nargs="+", type=int, default=[16])
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--inference", action="store_true", help="a forward pass in place of a training step")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=_CONTENDERS)
    parser.add_argument("--python", nargs="*", default=[], type=_interpreter, metavar="CONTENDER=PATH")
    parser.add_argument("--turns", type=_turns, default=7, help="of each contender, at least 2")
    parser.add_argument("--turn_seconds", type=float, default=2.0)
    parser.add_argument("--bandwidth", action="store_true", help="compare with the bound that memory sets")
    measurements.add_argument(parser)
    return parser.parse_args()


def _interpreter(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if name not in CONTENDERS or not pathlib.Path(path).is_file():
        expected = f"one of {', '.join(CONTENDERS)}, =, and the path of an interpreter"
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return name, path


def _turns(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r}: a spread takes at least 2 turns")
    return int(text)


def _print(task: Task, held: dict[str, contest.Result]) -> None:
    print(f"\n{task}")
    print(f"{'':18}{'images/s':>9}{'spread':>8}{'ours is':>9}{'compile':>9}{'peak':>10}{'buffers':>10}")
    for name, result in held.items():
        ratio = f"{result.median / held['ours'].median:.2f}x" if "ours" in held else ""
        buffers = f"{result.activation_bytes / 2**20:.0f} MiB" if result.activation_bytes else ""
        print(
            f"{name:18}{task.batch_size / result.median:>9.1f}{result.spread:>8.0%}{ratio:>9}"
            f"{result.compile_seconds:>7.1f} s{result.peak_bytes / 2**20:>6.0f} MiB{buffers:>10}"
        )
    sys.stdout.flush()


def _print_bound(report: dict) -> None:
    from benchmarks.contenders import with_jax
    from mnet_jax.models import registry

    bandwidth = roofline.copy_bandwidth()
    report["copy_bytes_per_second"] = bandwidth
    print(f"\ncopy bandwidth {bandwidth / 1e9:.0f} GB/s, read plus written")
    for entry in report["tasks"]:
        task = Task(**entry["task"])
        if task.inference or "ours" not in entry["results"]:
            continue
        model = registry.build(with_jax.task_config(task, "fast").model)
        width = 2 if task.dtype == "bfloat16" else 4
        bound = bandwidth / roofline.bytes_per_image(model, task.input_size, width)
        ours = task.batch_size / contest.Result(**entry["results"]["ours"]).median
        print(f"{task}: bound (a) {bound:.0f} images/s, ours {ours / bound:.0%} of it")


if __name__ == "__main__":
    main()
