"""The command: from a workdir, new or old, to text and pictures, without JAX."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from mnet_jax import presets
from mnet_jax.config.resolve import resolve
from mnet_jax.report import __main__ as report
from mnet_jax.workdir import results
from tests.finished import finish

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
TABLES = sorted(EXPERIMENTS.glob("*/results.csv"))


@pytest.fixture
def workdir(tmp_path):
    alphas = [resolve(presets.get("mnist5k"), {"model.alpha": alpha}).to_dict() for alpha in (1.0, 0.5)]
    return finish(tmp_path / "work", alphas)


def test_the_command_collects_anew_and_draws_without_jax(workdir):
    code = (
        "import sys; from mnet_jax.report import __main__ as report; "
        f"code = report.main(['--workdir', {str(workdir.path)!r}]); "
        "assert not {'jax', 'flax', 'tensorflow', 'absl'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2,000" in done.stdout
    assert (workdir.path / "accuracy_vs_mult_adds.png").exists()
    assert [row["alpha"] for row in results.read(workdir.results_path)] == [1.0, 0.5]


def test_a_broken_trial_is_listed_and_the_others_are_drawn(workdir, capsys):
    (workdir.trial("trial-00000001").path / "config.json").write_text("{")
    assert report.main(["--workdir", str(workdir.path)]) == 0
    assert "failed" in capsys.readouterr().out
    assert (workdir.path / "accuracy_vs_params.png").exists()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.parent.name)
def test_tables_of_earlier_versions_are_read_and_left_as_they_are(table, tmp_path, capsys):
    old = shutil.copytree(table.parent, tmp_path / "old")
    assert report.main(["--workdir", str(old)]) == 0
    assert (old / "results.csv").read_bytes() == table.read_bytes()
    rows = results.read(table)
    printed = capsys.readouterr().out
    assert all(f"{row['mult_adds']:,}" in printed for row in rows)
    assert all(isinstance(row["top1"], float) and isinstance(row["params"], int) for row in rows)


def test_there_are_tables_of_earlier_versions():
    assert len(TABLES) >= 4


def test_a_folder_without_a_table_is_refused(tmp_path, command):
    done = command("mnet_jax.report", "--workdir", tmp_path)
    assert done.returncode == 2
    assert "results.csv does not exist" in done.stderr


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(workdir, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(SystemExit):
        report.main(["--workdir", str(workdir.path)])
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"cannot write {workdir.path}: Read-only file system")
