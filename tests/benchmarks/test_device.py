import json

import numpy as np
import pytest

from benchmarks.device import __main__ as command_of
from benchmarks.device import asked, parts
from mnet_jax.train.checkpoint import Checkpoints

ON_CPU = {"JAX_PLATFORMS": "cpu"}


def by_kind(path):
    return {part["kind"]: part for part in json.loads(path.read_text())["parts"]}


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_part_is_measured_in_its_smallest_size(command, tmp_path):
    path = tmp_path / "device.json"
    arguments = ("--tiny", "--minutes", 60, "--json", path)  # a busy machine is no mistake
    done = command("benchmarks.device", *arguments, env_extra=ON_CPU, timeout=900)
    assert done.returncode == 0, done.stderr
    found = by_kind(path)
    assert found.keys() == {"bandwidth", "step", "grid", "again", "memory"}
    assert not [part for part in found.values() if "left_out" in part], done.stdout
    steps = {row["what"]: row for row in found["step"]["rows"]}
    for name in ("ours", "textbook"):
        assert len(steps[name]["seconds"]) == 2
        assert min(steps[name][key] for key in ("times_textbook", "share_of_bound_a", "activation_bytes")) > 0
    assert steps["pytorch_eager"].get("left_out") or steps["pytorch_eager"]["images_per_second"] > 0
    assert [row["what"] for row in found["memory"]["rows"]] == ["ours", "textbook"]
    assert min(row["peak_bytes"] for row in found["memory"]["rows"]) > 0
    (grid,), (again,) = found["grid"]["rows"], found["again"]["rows"]
    assert grid["together"] == grid["training_seconds"] / grid["floor_seconds"] > 0
    assert again["arrays"] > 100
    assert again["different"] == []
    assert "| compiled anew |" in done.stdout


@pytest.mark.slow
def test_without_time_every_part_is_left_out_by_name(command, tmp_path):
    path = tmp_path / "device.json"
    done = command("benchmarks.device", "--tiny", "--minutes", 0, "--json", path, env_extra=ON_CPU)
    assert done.returncode == 0, done.stderr
    found = by_kind(path)
    assert len(found) == 5
    assert all(part["left_out"] == "no time" and not part["rows"] for part in found.values())
    assert all(part["part"] in done.stdout for part in found.values())


@pytest.mark.slow
def test_a_cpu_is_refused(command):
    done = command("benchmarks.device", env_extra=ON_CPU)
    assert done.returncode == 2
    assert done.stderr.startswith("error: JAX's device here is no GPU but 'cpu'")
    assert "pass --tiny" in done.stderr


def test_a_part_that_breaks_is_named_and_keeps_what_it_measured():
    def measure(most):
        yield {"what": "read plus written", "bytes_per_second": 1e9}
        raise RuntimeError("first line\nthe device is gone")

    entry, saved = {"kind": "bandwidth", "part": "copy bandwidth", "rows": []}, []
    part = parts.Part("bandwidth", "copy bandwidth", 1.0, measure)
    command_of._measure(part, entry, 60, 60, lambda: saved.append(len(entry["rows"])))
    assert entry["left_out"] == "the device is gone"
    assert saved == [1, 1]
    assert "| read plus written | 1 |" in command_of._table(entry)


def test_every_step_is_beside_what_was_compiled():
    tasks = list(parts.FULL.steps)
    assert parts._compiled(tasks[0], "ours") / 1e9 == pytest.approx(4.48, abs=0.01)
    assert parts._compiled(tasks[0], "ours_least") / 1e9 == pytest.approx(2.72, abs=0.01)
    assert all(parts._compiled(task, name) for task in tasks for name in ("ours", "textbook"))


def test_states_that_differ_in_one_digit_are_told_apart(tmp_path):
    state = {"params": {"kernel": np.ones((2, 2), np.float32)}, "step": np.asarray(3)}
    for name, kernel in (("a", 1.0), ("b", 1.0), ("c", np.nextafter(np.float32(1), 2))):
        state["params"]["kernel"][0, 0] = kernel
        checkpoints = Checkpoints(tmp_path / name / "checkpoints")
        checkpoints.save(1, state, {"images": 0})
        checkpoints.close()
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert asked.differences([a, b]) == {"arrays": 2, "different": []}
    assert asked.differences([a, c]) == {"arrays": 2, "different": ["['params']['kernel']"]}
