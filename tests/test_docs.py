"""What the pages say can be done: commands, flags, fields, Python blocks, links and paths are looked up."""

import ast
import functools
import importlib.util
import itertools
import os
import pathlib
import re
import shlex
import subprocess
import sys
import textwrap

import pytest

import mnet_jax
from mnet_jax.config import file as config_file
from mnet_jax.config import own
from mnet_jax.config.dotted import flatten
from mnet_jax.config.fields import BY_KEY
from mnet_jax.data import registry as data_sets
from mnet_jax.models import registry
from mnet_jax.sweep.grid import expand
from tests.conftest import REPOSITORY
from tests.test_house import arrows

FIRST = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PAGES = [*FIRST, REPOSITORY / "benchmarks/README.md", *sorted((REPOSITORY / "experiments").glob("*/README.md"))]
CONFIGS = [*sorted((REPOSITORY / "configs").glob("*.py")), *sorted((REPOSITORY / "experiments").glob("*/config.py"))]
STAND_INS = {"FILE": "configs/width.py", "FILE:WORD": "configs/width.py:mnist5k"}
OF_THE_READER = ("width", "depth", "small_alpha")  # fields of networks and files that the pages write

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"\b(?:mnet_jax|benchmarks|configs|docs|experiments|tests)/[\w/.-]*\.(?:py|md|json|tsv|png)\b")


def name_of(path):
    return path.relative_to(REPOSITORY).as_posix()


def blocks(page, language):
    return [body for found, body in BLOCK.findall(page.read_text()) if found == language]


def spans(page):
    """What stands between backticks, outside of blocks, on one line."""
    return [" ".join(span.split()) for span in SPAN.findall(BLOCK.sub("", page.read_text()))]


def lines_of(path):
    """The lines of a page or of a config's header that may be commands, `[:a | :b]` as one line for each."""
    if path.suffix == ".py":
        header = ast.get_docstring(ast.parse(path.read_text()), clean=False)
        found = [line.strip() for line in header.splitlines() if line.startswith("    python")]
        found += [" ".join(span.split()) for span in SPAN.findall(header)]
    else:
        found = [line for block in blocks(path, "bash") for line in block.replace("\\\n", " ").splitlines()]
        found += spans(path)
    for line in found:
        if choices := re.search(r"\[(:\w+(?: \| :\w+)+)\]", line):
            yield from (line.replace(choices[0], word) for word in ("", *choices[1].split(" | ")))
        else:
            yield line


def commands(path):
    """(what Python runs, its arguments) for each `python ...` of a file."""
    for line in lines_of(path):
        if "python " not in line:
            continue
        words = shlex.split(line, comments=True)
        parts = [list(part) for is_end, part in itertools.groupby(words, lambda w: w in ("&&", ">", "|")) if not is_end]
        for part in parts:
            if "python" in part:
                after = part[part.index("python") + 1 :]
                if after[:1] == ["-m"]:
                    yield after[1], after[2:]
                elif after:
                    yield after[0], after[1:]


def arguments(words):
    """`--config`'s value or None, the overrides, and the names of the other flags."""
    spec, overrides, others = None, [], []
    for i, word in enumerate(words):
        name, has_value, value = word.partition("=")
        if name == "--config":
            spec = value if has_value else words[i + 1]
        elif name.startswith("--config."):
            overrides.append((name.removeprefix("--config."), value if has_value else "True"))
        elif name.startswith("--"):
            others.append(name)
    return spec, overrides, others


ALL = [(name_of(path), module, words) for path in (*PAGES, *CONFIGS) for module, words in commands(path)]
OURS = list(dict.fromkeys((where, module, tuple(words)) for where, module, words in ALL if "mnet_jax." in module))


@pytest.fixture(autouse=True)
def names_of_its_own(monkeypatch):
    """What a page registers is forgotten after the test."""
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))
    monkeypatch.setattr(data_sets, "_functions", dict(data_sets._functions))
    monkeypatch.setattr(own, "_executed", dict(own._executed))


@functools.cache
def flags_of(module):
    """The flags that a command's help names."""
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return {"--help", *re.findall(r"^ *(?:-h, )?(--\w+)", done.stdout, re.MULTILINE)}


@functools.cache
def known_fields():
    found = set()
    for stem in ("width", "transfer", "published_v1"):
        found |= set(flatten(config_file.load(REPOSITORY / f"configs/{stem}.py").config))
    return found | set(BY_KEY)


def load(spec, overrides):
    path, _, preset = STAND_INS.get(spec, spec).partition(":")
    return config_file.load(REPOSITORY / path, preset, overrides)


def test_the_pages_have_commands():
    assert len(OURS) > 40, "nothing is found in them any more: see `commands`"
    assert {"mnet_jax.sweep", "mnet_jax.train", "mnet_jax.evaluate", "mnet_jax.cost"} <= {m for _, m, _ in OURS}


@pytest.mark.parametrize("module", sorted({module for _, module, _ in ALL}))
def test_what_a_command_runs_exists(module):
    is_there = (REPOSITORY / module).is_file() if "/" in module else importlib.util.find_spec(module) is not None
    assert is_there, [where for where, other, _ in ALL if other == module]


@pytest.mark.parametrize(("where", "module", "words"), OURS, ids=lambda value: str(value)[:60])
def test_a_command_has_its_config_its_fields_and_its_flags(where, module, words):
    spec, overrides, others = arguments(words)
    assert spec is not None or not overrides, f"{where}: no --config"
    if spec is not None:
        load(spec, overrides)
    if others:
        assert set(others) <= flags_of(module), where


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_fields_in_the_text_exist(page):
    found = [shlex.split(span) for span in spans(page) if span.startswith("--config.") and "FIELD" not in span]
    keys = [key for words in found for key, _ in arguments(words)[1]]
    keys += [
        match[1] for span in spans(page) if (match := re.fullmatch(r"config\.(?!json)([a-z0-9_.]+)(?: = .*)?", span))
    ]
    groups = {key.rpartition(".")[0] for key in known_fields()}
    unknown = [key for key in keys if key not in known_fields() | groups and key.split(".")[-1] not in OF_THE_READER]
    assert not unknown


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run_and_their_configs_have_trials(page, tmp_path):
    for number, block in enumerate(blocks(page, "python")):
        path = tmp_path / f"block{number}.py"
        path.write_text(block)
        module = own.execute(path)
        if hasattr(module, "get_config"):
            file = config_file.load(path)
            assert expand(file.config, file.trials()), f"{page}, block {number}: no trials"


def test_the_network_of_the_first_page_is_swept_as_it_says(tmp_path):
    (block,) = [block for block in blocks(REPOSITORY / "README.md", "python") if "register_model" in block]
    config = """
        def get_config():
            config = mnet_jax.get_preset("mnist5k")
            config.model.name = "small"
            config.sweep.model.width = (8, 16, 32)
            return config
    """
    path = tmp_path / "config.py"
    path.write_text(block + textwrap.dedent(config))
    assert [trial.model.width for trial in expand(config_file.load(path).config).values()] == [8, 16, 32]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    links = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
    assert not [link for link in links if link and not (page.parent / link).exists()]


@pytest.mark.parametrize("page", FIRST, ids=name_of)
def test_files_in_the_text_exist(page):
    places = (REPOSITORY, REPOSITORY / "mnet_jax", page.parent)
    named = [span for span in spans(page) if re.fullmatch(r"[a-z0-9_./]+(?:\.(?:py|md|tsv)|/)", span)]
    written = ("trials/", "source/", "output/", "weights/", "val/", "checkpoints/", "utils.py", "__main__.py")
    assert not [name for name in named if name not in written and not any((place / name).exists() for place in places)]


def test_paths_in_sources_and_pages_exist():
    sources = [path for room in ("mnet_jax", "benchmarks", "experiments", "docs") for path in room_files(room)]
    found = [(name_of(path), name) for path in (*PAGES, *CONFIGS, *sources) for name in PATH.findall(path.read_text())]
    assert not [(where, name) for where, name in found if not (REPOSITORY / name).exists()]


def room_files(room):
    return sorted(path for path in (REPOSITORY / room).rglob("*.py") if path != pathlib.Path(__file__))


def test_the_design_page_has_every_room():
    rows = re.findall(r"^\| `([\w.]+)/?` \|", (REPOSITORY / "docs/design.md").read_text(), re.MULTILINE)
    there = {path.name for path in (REPOSITORY / "mnet_jax").iterdir() if not path.name.startswith("__")}
    assert set(rows) == there - {"presets.py", "py.typed"}


def test_the_design_page_says_which_rooms_a_room_uses():
    rows = re.findall(
        r"^\| `(\w+)(?:/|\.py)` \| .* \|(.*)\|$", (REPOSITORY / "docs/design.md").read_text(), re.MULTILINE
    )
    stated = {room: set(re.findall(r"`(\w+)`", uses)) for room, uses in rows}
    assert stated == {room: uses for room, uses in arrows().items() if room in stated}


def test_the_first_page_is_short():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 120


@pytest.mark.slow
def test_the_tour_runs(tmp_path, compilation_cache):
    environment = {"TFDS_DATA_DIR": str(tmp_path / "tfds"), "JAX_COMPILATION_CACHE_DIR": compilation_cache}
    command = [sys.executable, REPOSITORY / "docs/tour.py", tmp_path / "work"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = mnet_jax.results(tmp_path / "work/sizes", tmp_path / "work/own")
    assert [row["status"] for row in rows] == ["done"] * 4, done.stdout
    assert {row["dataset"] for row in rows} == {"mnist5k", "stripes"}
