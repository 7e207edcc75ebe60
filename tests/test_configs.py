"""Golden configs: every config file with every preset, flattened, so that a review shows what a change does.

After an intended change: `python -m tests.test_configs`, then read the difference.
"""

import json
import pathlib
import runpy

import pytest

from mnet_jax import config as config_lib
from mnet_jax import presets, sweep

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = pathlib.Path(__file__).parent / "golden"
CASES = [(path.stem, preset) for path in sorted((ROOT / "configs").glob("*.py")) for preset in presets.PRESETS]


def get_config(stem, preset):
    return runpy.run_path(str(ROOT / "configs" / f"{stem}.py"))["get_config"](preset)


def as_text(config):
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in sorted(config_lib.flatten(config).items()))


@pytest.mark.parametrize(("stem", "preset"), CASES)
def test_config_equals_its_golden_text(stem, preset):
    golden = (GOLDEN / f"{stem}-{preset}.txt").read_text()
    assert as_text(get_config(stem, preset)) == golden, "run `python -m tests.test_configs` if you meant this"


@pytest.mark.parametrize(("stem", "preset"), CASES)
@pytest.mark.parametrize("model", ["mobilenet_v1", "mobilenet_v2"])
def test_every_config_expands_for_both_models(stem, preset, model):
    config = get_config(stem, preset)
    config.model.name = model
    assert len(sweep.expand(config)) == {"width": 4, "resolution": 4, "grid": 16}[stem]


def test_no_golden_text_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {f"{stem}-{preset}" for stem, preset in CASES}


def test_every_config_opens_with_its_claim():
    for path in sorted((ROOT / "configs").glob("*.py")):
        header = path.read_text().split('"""')[1]
        for word in ("python -m mnet_jax.sweep", "Device:", "Top-1:", "Mult-Adds:"):
            assert word in header, f"{path.name} does not say: {word}"


if __name__ == "__main__":
    for stem, preset in CASES:
        (GOLDEN / f"{stem}-{preset}.txt").write_text(as_text(get_config(stem, preset)))
