import re
import sys

import pytest

from mnet_jax.errors import UserError
from mnet_jax.sweep.launchers import local, registry
from mnet_jax.sweep.run import run_sweep

OWN = """
from mnet_jax.sweep.launchers.contract import Capacity


class Mine:
    def __init__(self, launch, workdir):
        self.launch_fields, self.workdir = launch, workdir

    def capacity(self):
        return Capacity(2, 1, 0)

    def launch(self, groups, interruption, on_poll):
        for folder in (folder for group in groups for folder in group):
            folder.set_status("failed", f"{len(groups)} groups in {self.workdir.path.name}")
            on_poll(folder)
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("slrum", "launcher 'slrum': did you mean slurm? (known: local, ray, slurm)"),
        ("no_such_package:launch", "no_such_package"),
        ("launcher.py:Miine", "'launcher.py:Miine': launcher.py has no Miine: did you mean Mine?"),
        ("launcher.py:number", "launcher 'launcher.py:number': 3 is no function"),
    ],
)
def test_a_launcher_that_is_not_there_is_refused(tmp_path, name, message):
    (tmp_path / "launcher.py").write_text("class Mine: ...\nnumber = 3\n")
    with pytest.raises(UserError, match=re.escape(message)):
        registry.find(name, tmp_path)


def test_the_local_launcher_says_what_this_machine_has(tiny, tmp_path):
    made = registry.find("local", tmp_path)(tiny.launch, None)
    assert isinstance(made, local.Local)


def test_a_launcher_of_ones_own_gets_the_groups(tiny, tmp_path):
    (tmp_path / "launcher.py").write_text(OWN)
    tiny.folder = str(tmp_path)
    tiny.sweep.input_size = (16, 12)
    rows = run_sweep(tiny, tmp_path / "work", launcher="launcher.py:Mine")
    assert [(row["status"], row["error"]) for row in rows] == [("failed", "2 groups in work")] * 2


@pytest.mark.parametrize(("name", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_library_that_is_missing_is_named_with_what_installs_it(tiny, tmp_path, monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=rf'pip install "mnet_jax\[{name}\]"'):
        run_sweep(tiny, tmp_path / "work", launcher=name)
    assert not (tmp_path / "work").exists()


def test_the_local_launcher_has_one_host(tiny, tmp_path):
    tiny.launch.hosts_per_group = 2
    with pytest.raises(UserError, match=r"config.launch.hosts_per_group=2: the local launcher has this machine alone"):
        run_sweep(tiny, tmp_path / "work")
