"""Golden configs: every config file with every preset, flattened, so that a review shows what a change does.

After an intended change: `python tests/config/test_configs.py`, then read the difference.
"""

import json
import pathlib
import runpy

import pytest

from mnet_jax import presets
from mnet_jax.config.dotted import flatten
from mnet_jax.models import registry
from mnet_jax.sweep.grid import expand

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = pathlib.Path(__file__).parent / "golden"
STEMS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
CASES = [(s, preset) for s in STEMS for preset in presets.PRESETS if s != "published_v1" or preset == "imagenet"]


def run_path(stem):
    return runpy.run_path(str(ROOT / "configs" / f"{stem}.py"))


def get_config(stem, preset):
    return run_path(stem)["get_config"](preset)


def as_text(config):
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in sorted(flatten(config).items()))


@pytest.mark.parametrize(("stem", "preset"), CASES)
def test_config_equals_its_golden_text(stem, preset):
    golden = (GOLDEN / f"{stem}-{preset}.txt").read_text()
    assert as_text(get_config(stem, preset)) == golden, "run `python tests/config/test_configs.py` if you meant this"


@pytest.mark.parametrize(("stem", "preset"), [case for case in CASES if case[0] in ("width", "resolution", "grid")])
def test_every_grid_expands_for_every_model(stem, preset):
    for model in registry.MODELS:
        config = get_config(stem, preset)
        config.model.name = model
        assert len(expand(config)) == {"width": 4, "resolution": 4, "grid": 16}[stem]


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_the_ablation_has_four_networks_of_each_paper(preset):
    trials = expand(config := get_config("ablation", preset), run_path("ablation")["sweep"](config))
    assert [trial.model.name for trial in trials.values()] == ["mobilenet_v1"] * 4 + ["mobilenet_v2"] * 4
    assert sum(trial.model.residual is False for trial in trials.values()) == 1


def test_no_golden_text_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {f"{stem}-{preset}" for stem, preset in CASES}


def test_every_config_opens_with_its_claim():
    for path in sorted((ROOT / "configs").glob("*.py")):
        header = path.read_text().split('"""')[1]
        for word in ("python -m mnet_jax.sweep", "Device:", "Top-1:", "Mult-Adds:"):
            assert word in header, f"{path.name} does not say: {word}"


if __name__ == "__main__":
    for leftover in GOLDEN.glob("*.txt"):
        leftover.unlink()
    for stem, preset in CASES:
        (GOLDEN / f"{stem}-{preset}.txt").write_text(as_text(get_config(stem, preset)))
