"""The layout: rooms that use only rooms below them, and what an import costs.

A room is a folder or a file at the top of `mnet_jax`. Commands (`__main__.py`, `data/prepare.py`) and the API in
`__init__.py` may use everything.
"""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

import mnet_jax

PACKAGE = pathlib.Path(mnet_jax.__file__).parent
COMMANDS = {"__main__.py", "__init__.py", "data/prepare.py"}
NO_JAX = (
    "config.fields",
    "config.dotted",
    "workdir.files",
    "workdir.results",
    "report.plots",
    "report.tables",
    "report.page.live",
    "cli",
)
HEAVY = ("tensorflow_datasets", "cv2", "h5py", "orbax", "grain", "simplejpeg", "array_record")


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def is_command(path):
    name = path.relative_to(PACKAGE).as_posix()
    return name in COMMANDS or path.name == "__main__.py"


def imports(path):
    """The names of the modules of this package that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "mnet_jax")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mnet_jax":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        below = found.setdefault(room_of(path), set())
        if not is_command(path):
            below |= {name.split(".")[1] for name in imports(path)} - {room_of(path)}
    return found


def test_there_are_few_rooms():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 18, sorted(path.name for path in entries)


def test_no_circle_and_at_most_8_floors():
    below = arrows()
    order = list(graphlib.TopologicalSorter(below).static_order())  # raises CycleError, with the circle in it
    floors = {}
    for room in order:
        floors[room] = 1 + max((floors[other] for other in below.get(room, ())), default=0)
    assert max(floors.values()) <= 8, floors


def test_every_room_is_below_those_that_use_it():
    """The order of the house, from the bottom; a new arrow upwards fails here with its file."""
    floors = [
        {"errors"},
        {"models", "devices"},
        {"config"},
        {"data", "pretrained", "cost", "workdir", "presets"},
        {"report", "train"},
        {"cli"},
        {"sweep", "evaluate", "export", "latency"},
        {"__init__"},
    ]
    level = {room: i for i, rooms in enumerate(floors) for room in rooms}
    assert set(level) == set(arrows())
    for path in sorted(PACKAGE.rglob("*.py")):
        if not is_command(path):
            for name in imports(path):
                room, used = room_of(path), name.split(".")[1]
                assert room == used or level[used] <= level[room], f"{path.relative_to(PACKAGE)} imports {name}"


def loaded_by(module):
    code = f"import sys; import mnet_jax.{module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", NO_JAX)
def test_reading_files_imports_no_jax(module):
    assert not {"jax", "flax", *HEAVY} & loaded_by(module)


@pytest.mark.parametrize("module", ["config.resolve", "config.file", "sweep.grid", "train.inputs", "cost.layers"])
def test_reading_a_config_imports_no_codec_and_no_data_library(module):
    assert not set(HEAVY) & loaded_by(module)


def test_the_package_itself_imports_only_the_standard_library():
    code = "import sys, mnet_jax; print(*({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"mnet_jax", "__main__", "__mp_main__"}


def test_no_exported_name_is_that_of_a_room():
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")}
    assert not rooms & set(mnet_jax.__all__)
    for name in mnet_jax.__all__:
        assert getattr(mnet_jax, name) is not None


def test_no_file_has_two_ideas():
    long = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_no_circle_among_the_files_of_a_room():
    """Also those that a function imports late."""
    for room in sorted(path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"):
        below = {}
        for path in room.rglob("*.py"):
            module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            known = {name if (PACKAGE.parent / (name.replace(".", "/") + ".py")).is_file() else name.rpartition(".")[0]
                     for name in imports(path)}  # fmt: skip
            below[module] = {name for name in known if name.startswith(f"mnet_jax.{room.name}.")} - {module}
        list(graphlib.TopologicalSorter(below).static_order())
