"""What is asked in a process of its own, as the first look at a device takes hold of it:

python -m benchmarks.device.asked QUESTION ARGUMENTS_AS_JSON
"""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

NO_DEVICE = {"JAX_PLATFORMS": "cpu"}  # for questions that need none


def ask(question: str, *arguments: Any, seconds: float, environment: Mapping[str, str] | None = None) -> Any:
    """The answer of another process to one of the functions below.

    Raises:
      RuntimeError: it failed; the last line of its error.
      subprocess.TimeoutExpired: it took longer, and was killed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.device.asked", question, json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        env=os.environ | (environment or {}),
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return json.loads(done.stdout)


def device() -> dict[str, Any]:
    """The platform, kind and number of the devices that JAX takes."""
    import jax

    first = jax.devices()[0]
    return {"platform": first.platform, "kind": first.device_kind, "count": jax.device_count()}


def bound(gibibytes: float, tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bytes per second of a copy, read plus written, and what bound (a) moves for an image of each `Task`'s step."""
    from benchmarks import roofline

    return {"bytes_per_second": roofline.copy_bandwidth(gibibytes), "bytes_per_image": [*map(_bytes_per_image, tasks)]}


def _bytes_per_image(task: Mapping[str, Any]) -> int:
    from benchmarks import roofline
    from benchmarks.contenders.with_jax import task_config
    from benchmarks.task import Task
    from mnet_jax.models import registry

    task = Task(**task)
    model = registry.build(task_config(task, "fast").model)
    return roofline.bytes_per_image(model, task.input_size, {"bfloat16": 2, "float32": 4}[task.dtype])


def differences(folders: Sequence[str]) -> dict[str, Any]:
    """Between the last checkpoints of two trials: how many arrays there are, and those that differ in any bit."""
    first, second = map(_state, folders)
    names = [*first, *(name for name in second if name not in first)]
    different = [name for name in names if _bits(first.get(name)) != _bits(second.get(name))]
    return {"arrays": len(names), "different": different}


def _state(folder: str) -> dict[str, Any]:
    import jax

    from mnet_jax.train.checkpoint import Checkpoints
    from mnet_jax.workdir.files import TrialFolder

    checkpoints = Checkpoints(TrialFolder(pathlib.Path(folder)).checkpoints_path, read_only=True)
    state, _ = checkpoints.restore(checkpoints.saved())
    checkpoints.close()
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _bits(array: Any) -> tuple | None:
    return array if array is None else (str(array.dtype), array.shape, array.tobytes())


def main(question: str, arguments: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    print(json.dumps(globals()[question](*json.loads(arguments))), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
