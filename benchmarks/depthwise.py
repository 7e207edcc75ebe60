"""The depthwise convolution alone, each way of computing it in turn: `python -m benchmarks.depthwise --help`.

Prints, for the forward pass, the gradient of the input and that of the kernel, the time of XLA's grouped convolution
and how many times faster the sum of shifted products is. Any platform; the GPU's own choice is "grouped".
"""

import argparse
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import jax
import jax.numpy as jnp

from benchmarks import measurements
from mnet_jax.devices.mesh import device_name
from mnet_jax.devices.process import environment
from mnet_jax.models.ops.depthwise import depthwise_conv


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer: input side in pixels, channels, stride, side of the kernel, images."""

    side: int
    channels: int
    stride: int = 1
    kernel_size: int = 3
    batch: int = 16

    def __str__(self) -> str:
        return (
            f"{self.side}x{self.side}x{self.channels}, {self.kernel_size}x{self.kernel_size} / {self.stride}, "
            f"batch {self.batch}"
        )


CASES = (
    *(Case(64, c) for c in (8, 32)),  # MobileNetV1 at 128 pixels, alpha 0.25 and 1
    *(Case(64, c, stride=2) for c in (16, 64)),
    *(Case(32, c) for c in (32, 128)),
    *(Case(8, c) for c in (128, 512)),
    Case(4, 1024),
    Case(112, 32),  # at 224 pixels
    Case(14, 512),
    Case(16, 72, kernel_size=5),  # MobileNetV3
    Case(64, 32, batch=1),
    Case(8, 512, batch=1),
    Case(8, 4),  # few of everything
)
PARTS = ("forward", "input gradient", "kernel gradient")


def main() -> None:
    if "GLIBC_TUNABLES" not in os.environ:
        command = [sys.executable, "-m", "benchmarks.depthwise", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | environment())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--turns", type=int, default=9, help="of each way")
    measurements.add_argument(parser)
    args = parser.parse_args()
    about = {name: version(name) for name in ("jax", "jaxlib")} | {"device": device_name()}
    print(", ".join(f"{name} {value}" for name, value in about.items()), "-", args.dtype)
    print(f"{'grouped: ms (shifted is so many times faster)':48}" + "".join(f"{part:>20}" for part in PARTS))
    report = {"about": about, "dtype": args.dtype, "rows": []}
    for case in CASES:
        row = {part: _measure(case, part, jnp.dtype(args.dtype), args.turns) for part in PARTS}
        report["rows"].append({"case": dataclasses.asdict(case), "seconds": row})
        cells = (f"{1e3 * m['grouped']:.2f} ({m['grouped'] / m['shifted']:.1f}x)" for m in row.values())
        print(f"{case!s:48}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
        measurements.save(report, args.json)


def _measure(case: Case, part: str, dtype, turns: int) -> dict[str, float]:
    """Median seconds of both ways, in turns."""
    key = jax.random.key(0)
    x = jax.random.normal(key, (case.batch, case.side, case.side, case.channels), dtype)
    kernel = jax.random.normal(key, (case.kernel_size, case.kernel_size, 1, case.channels), dtype)
    out = -(-case.side // case.stride)
    dy = jnp.ones((case.batch, out, out, case.channels), dtype)
    programs = {method: _program(case, part, method, x, kernel, dy) for method in ("grouped", "shifted")}
    repeats = {method: max(1, round(0.05 / _seconds(program, 2))) for method, program in programs.items()}
    seconds = {method: [] for method in programs}
    for _ in range(turns):
        for method, program in programs.items():
            seconds[method].append(_seconds(program, repeats[method]))
    return {method: statistics.median(values) for method, values in seconds.items()}


def _program(case: Case, part: str, method: str, x, kernel, dy) -> Callable[[], jax.Array]:
    def convolve(x, kernel):
        return depthwise_conv(x, kernel, (case.stride, case.stride), method=method)

    def run(x, kernel, dy):
        if part == "forward":
            return convolve(x, kernel)
        return jax.vjp(convolve, x, kernel)[1](dy)[PARTS.index(part) - 1]

    compiled = jax.jit(run).lower(x, kernel, dy).compile()
    return lambda: compiled(x, kernel, dy)


def _seconds(program: Callable[[], jax.Array], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        result = program()
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / repeats


if __name__ == "__main__":
    main()
