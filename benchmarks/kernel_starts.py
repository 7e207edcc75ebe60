"""What share of a step on one H100 its kernels' starts are, and what vmapped replicates would gain: an estimate.

`mnet_jax/sweep/advice.py` has the formula and its constants; nothing is measured, and no device is needed. Below, the
papers' grid of V1 in bfloat16.
"""

import argparse
import itertools

from benchmarks.contenders.with_jax import task_config
from benchmarks.task import Task
from mnet_jax.sweep.advice import estimate

_ALPHAS, _INPUT_SIZES = (1.0, 0.75, 0.5, 0.25), (224, 192, 160, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--replicates", type=int, default=3)
    args = parser.parse_args()
    print(f"{'batch':>6}{'alpha':>7}{'input_size':>12}{'memory, ms':>12}{'starts, ms':>12}{'share':>7}{'gain':>6}")
    for batch_size, alpha, size in itertools.product(args.batch_size, _ALPHAS, _INPUT_SIZES):
        found = estimate(task_config(Task("mobilenet_v1", alpha, size, batch_size, "bfloat16"), "fast"))
        print(
            f"{batch_size:>6}{alpha:>7g}{size:>12}{1e3 * found.memory_seconds:>12.2f}{1e3 * found.start_seconds:>12.2f}"
            f"{found.start_share:>7.0%}{found.gain(args.replicates):>6.2f}"
        )


if __name__ == "__main__":
    main()
