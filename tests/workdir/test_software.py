import json
import pathlib
import shutil
import subprocess
import sys

import pytest

import mnet_jax
from mnet_jax.workdir.software import command, software

LOOK = "import json; from mnet_jax.workdir import software; print(json.dumps(software.software()))"


@pytest.fixture
def package(tmp_path):
    """A copy of the package in a folder of its own."""
    source = pathlib.Path(mnet_jax.__file__).parent
    shutil.copytree(source, tmp_path / "mnet_jax", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def look(package):
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=package, text=True, capture_output=True, check=True)
    return json.loads(done.stdout)


def git(package, *arguments):
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=package, check=True, capture_output=True)


def test_versions_are_those_that_are_installed():
    versions = software()["versions"]
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["jax"] == __import__("jax").__version__
    assert None not in versions.values()


def test_a_commit_is_that_of_the_package_and_of_no_repository_around_it(package):
    assert (look(package)["commit"], look(package)["is_dirty"]) == (None, None)
    git(package, "init", "-q")
    (package / "notes.txt").write_text("of the user's")
    git(package, "add", "notes.txt")
    git(package, "commit", "-qm", "notes")
    assert look(package)["commit"] is None, "an environment inside the repository of a user"
    git(package, "add", ".")
    git(package, "commit", "-qm", "all")
    found = look(package)
    assert len(found["commit"]) == 40
    assert found["is_dirty"] is False
    (package / "untracked.txt").write_text("")
    assert look(package) == found
    (package / "notes.txt").write_text("changed")
    assert look(package) == found | {"is_dirty": True}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["/bin/python3", "-m", "mnet_jax.sweep", "--config", "a b.py"], "python -m mnet_jax.sweep --config 'a b.py'"),
        (["/bin/python3", "-W", "ignore", "-m", "mnet_jax.sweep"], "python -m mnet_jax.sweep"),
        (["/bin/python3", "-m", "pytest"], None),
        (["/bin/python3", "tour.py"], None),
        (["/bin/python3", "-m"], None),
    ],
)
def test_a_command_of_this_package_is_told_as_it_was_given(given, said, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", given)
    assert command() == said
