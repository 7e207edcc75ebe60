"""Golden configs: every config file with every preset, flattened, so that a review shows what a change does.

And the hashes of their trials, which do not change: a trial is found by them.

After an intended change: `python tests/config/test_configs.py`, then read the difference.
"""

import json
import pathlib

import pytest

from mnet_jax import presets
from mnet_jax.config import __main__ as fields_page
from mnet_jax.config.dotted import flatten
from mnet_jax.config.fields import FOLDERS, OF_MASKS
from mnet_jax.config.file import load
from mnet_jax.models import registry
from mnet_jax.sweep.grid import expand

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = pathlib.Path(__file__).parent / "golden"
STEMS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
ONLY = {"published_v1": "imagenet", "transfer": "image_folder"}
OF_CLASSES = [preset for preset in presets.PRESETS if preset not in OF_MASKS]
OF_PIXELS = ("segmentation",)
CASES = [
    (stem, preset)
    for stem in STEMS
    for preset in (OF_MASKS if stem in OF_PIXELS else OF_CLASSES)
    if ONLY.get(stem, preset) == preset
]
EXPANDABLE = [case for case in CASES if case[0] not in ONLY and case[1] not in FOLDERS]  # without data
HASHES = GOLDEN / "hashes.tsv"


def read(stem, preset):
    return load(ROOT / "configs" / f"{stem}.py", preset)


def get_config(stem, preset):
    return read(stem, preset).config


def as_text(config):
    """Without the axes that could be and are not."""
    fields = sorted((key, value) for key, value in flatten(config).items() if value != () and key != "folder")
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields)


def hashes(stem, preset):
    """The trials of a config file, each with its overrides and its hash."""
    file = read(stem, preset)
    return [f"{stem}:{preset} {name}\n" for name in expand(file.config, file.trials())]


@pytest.mark.parametrize(("stem", "preset"), CASES)
def test_config_equals_its_golden_text(stem, preset):
    golden = (GOLDEN / f"{stem}-{preset}.txt").read_text()
    assert as_text(get_config(stem, preset)) == golden, "run `python tests/config/test_configs.py` if you meant this"


@pytest.mark.parametrize(("stem", "preset"), EXPANDABLE)
def test_the_hashes_of_its_trials_stay_what_they_are(stem, preset):
    """Results are found by them: a change makes people train again what they have."""
    golden = [line for line in HASHES.read_text().splitlines(keepends=True) if line.startswith(f"{stem}:{preset} ")]
    assert hashes(stem, preset) == golden


@pytest.mark.parametrize(
    ("stem", "preset"), [case for case in EXPANDABLE if case[0] in ("width", "resolution", "grid")]
)
def test_every_grid_expands_for_every_model(stem, preset):
    for model in registry.classifiers():
        config = get_config(stem, preset)
        config.model.name = model
        assert len(expand(config)) == {"width": 4, "resolution": 4, "grid": 16}[stem] * max(1, len(config.sweep.seed))


@pytest.mark.parametrize("preset", [preset for stem, preset in EXPANDABLE if stem == "ablation"])
def test_the_ablation_has_four_networks_of_each_paper(preset):
    file = read("ablation", preset)
    trials = expand(file.config, file.trials())
    seeds = max(trial.seed for trial in trials.values()) + 1
    assert seeds == (1 if preset.startswith("imagenet") else 3)
    names = [trial.model.name for trial in trials.values()]
    assert names == ["mobilenet_v1"] * 4 * seeds + ["mobilenet_v2"] * 4 * seeds
    assert sum(trial.model.get("residual") is False for trial in trials.values()) == seeds


def test_no_golden_text_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {f"{stem}-{preset}" for stem, preset in CASES}


def test_the_page_of_fields_is_what_the_command_writes():
    page = (ROOT / "docs" / "fields.md").read_text()
    assert page == fields_page.as_markdown(), "run `python -m mnet_jax.config > docs/fields.md`"


def test_every_config_opens_with_its_claim():
    for path in sorted((ROOT / "configs").glob("*.py")):
        header = path.read_text().split('"""')[1]
        score = "mIoU:" if path.stem in OF_PIXELS else "Top-1:"
        for word in ("python -m mnet_jax.sweep", "Device:", score, "Mult-Adds:"):
            assert word in header, f"{path.name} does not say: {word}"


if __name__ == "__main__":
    for leftover in GOLDEN.glob("*.txt"):
        leftover.unlink()
    for stem, preset in CASES:
        (GOLDEN / f"{stem}-{preset}.txt").write_text(as_text(get_config(stem, preset)))
    HASHES.write_text("".join(line for case in EXPANDABLE for line in hashes(*case)))
