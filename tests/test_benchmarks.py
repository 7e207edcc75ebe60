"""The benchmarks run; what they measure is checked in under `benchmarks/results`, not tested."""

import json
import sys

import pytest

from benchmarks import contest, roofline
from benchmarks.task import Task
from mnet_jax.models import mobilenet_v1


@pytest.mark.slow
def test_contenders_take_turns(command, tmp_path):
    path = tmp_path / "report.json"
    done = command(
        "benchmarks.train_step",
        *("--model", "mobilenet_v1", "--alpha", 0.25, "--input_size", 32, "--batch_size", 2),
        *("--contenders", "ours", "textbook", "--turns", 2, "--turn_seconds", 0.01, "--bandwidth", "--json", path),
    )
    assert done.returncode == 0, done.stderr
    assert "bound (a)" in done.stdout
    (entry,) = json.loads(path.read_text())["tasks"]
    for result in entry["results"].values():
        assert len(result["seconds"]) == 2
        assert min(result["seconds"]) > 0
        assert result["about"]["jax"]


@pytest.mark.slow
def test_a_contender_that_cannot_run_says_why(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(contest.Unavailable, match="exit code 3"):
        contest.Contender("pytorch_eager", Task("mobilenet_v1", 0.25, 32, 2), str(broken)).wait_until_ready()


def contender(path, turns):
    """An interpreter in whose place a script says what a contender says, until it has no memory left for a turn."""
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "say = lambda **answer: print(json.dumps(answer), flush=True)\n"
        "say(compile_seconds=0.1, activation_bytes=1, about={})\n"
        "for turn, line in enumerate(sys.stdin):\n"
        f"    say(seconds=0.001) if turn < {turns} else say(unavailable='RESOURCE_EXHAUSTED')\n"
        "say(peak_bytes=1)\n"
    )
    path.chmod(0o755)
    return str(path)


def test_contenders_that_fail_are_left_out_with_their_reasons_and_the_rest_goes_on(tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    pythons = {
        "ours": contender(tmp_path / "good", turns=10),
        "textbook": contender(tmp_path / "full", turns=3),
        "pytorch_eager": str(slow),
    }
    task = Task("mobilenet_v1", 0.25, 32, 2)
    held = contest.hold(list(pythons), task, pythons, turns=2, turn_seconds=0.0, seconds=6.0, at_once=True)
    assert held.left_out == {"textbook": "RESOURCE_EXHAUSTED", "pytorch_eager": "no time: it was not ready"}
    assert {name: len(result.seconds) for name, result in held.results.items()} == {"ours": 2}


def test_bytes_of_bound_a_are_those_of_the_roofline():
    """141 MB per image for V1 1.0 at 224 in bfloat16, counted on paper."""
    model = mobilenet_v1.MobileNetV1(num_classes=1000)
    assert roofline.bytes_per_image(model, 224) == pytest.approx(141e6, rel=0.01)
    assert roofline.bytes_per_image(model, 224, bytes_per_element=4) == 2 * roofline.bytes_per_image(model, 224)


@pytest.mark.slow
def test_an_input_pipeline_is_measured_and_a_missing_one_is_named(command, tmp_path):
    path = tmp_path / "report.json"
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such library >&2\nexit 3\n")
    broken.chmod(0o755)
    done = command(
        "benchmarks.input_pipeline",
        *("--contenders", "ours", "ours_cached_256", "tf_data", "--python", f"tf_data={broken}", "--json", path),
        *("--images", 32, "--width", 300, "--height", 280, "--side", 32),
        *("--batch_size", 8, "--batches", 2, "--turns", 2),
    )
    assert done.returncode == 0, done.stderr
    assert "tf_data is left out: no such library" in done.stderr
    results = json.loads(path.read_text())["results"]
    assert results.keys() == {"ours", "ours_cached_256"}
    assert all(min(result["images_per_second"]) > 0 for result in results.values())


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_shared_grid_is_measured_beside_separate_trials(command, tmp_path):
    path = tmp_path / "report.json"
    done = command(
        "benchmarks.grid",
        *("--alphas", 0.25, "--sizes", 32, "--seeds", 0, 1, "--images", 48),
        *("--batch_size", 8, "--turns", 1, "--json", path),
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (shared,), (separate,) = json.loads(path.read_text())["turns"].values()
    assert separate["images_decoded"] == 2 * shared["images_decoded"] == 2 * (48 + 6)
    assert separate["scores"] == shared["scores"]
    assert "accuracies and losses are the same" in done.stdout
    assert min(shared[name] for name in ("seconds", "training_seconds", "floor_seconds", "peak_bytes")) > 0


@pytest.mark.slow
def test_the_launcher_is_measured_without_training(command, tmp_path):
    path = tmp_path / "report.json"
    done = command("benchmarks.launcher", "--trials", 20, 40, "--places", 2, "--seconds", 0.1, "--json", path)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    assert [sweep["trials"] for sweep in report["sweeps"]] == [20, 40]
    assert {"expand", "plan", "run", "law and plots", "rerun"} == report["sweeps"][0]["ms_per_trial"].keys()
    assert report["about"]["jax"]
