"""The benchmarks run; what they measure is checked in under `benchmarks/results`, not tested."""

import json

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
        contest.Contender("pytorch_eager", Task("mobilenet_v1", 0.25, 32, 2), str(broken))


def test_bytes_of_bound_a_are_those_of_the_roofline():
    """141 MB per image for V1 1.0 at 224 in bfloat16, counted on paper."""
    model = mobilenet_v1.MobileNetV1(num_classes=1000)
    assert roofline.bytes_per_image(model, 224) == pytest.approx(141e6, rel=0.01)
    assert roofline.bytes_per_image(model, 224, bytes_per_element=4) == 2 * roofline.bytes_per_image(model, 224)
