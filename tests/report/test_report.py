"""The command: from a workdir, new or old, to text and pictures, without JAX."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from mnet_jax import presets
from mnet_jax.config.resolve import resolve
from mnet_jax.report import __main__ as report
from mnet_jax.report.points import reached
from mnet_jax.workdir import results
from tests.finished import finish

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
TABLES = [*sorted(EXPERIMENTS.glob("*/results.csv")), pathlib.Path(__file__).parent / "real_grid/results.csv"]


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
    printed = capsys.readouterr().out
    assert f"trial-00000001 failed: {workdir.trial('trial-00000001').path / 'config.json'} is damaged (" in printed
    assert (workdir.path / "accuracy_vs_params.png").exists()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.parent.name)
def test_tables_of_earlier_versions_are_read_and_left_as_they_are(table, tmp_path, capsys):
    old = shutil.copytree(table.parent, tmp_path / "old")
    assert report.main(["--workdir", str(old)]) == 0
    assert (old / "results.csv").read_bytes() == table.read_bytes()
    rows = results.read(table)
    printed = capsys.readouterr().out
    assert all(f"{row['mult_adds']:,}" in printed for row in rows)
    assert all(isinstance(row["params"], int) for row in rows)
    assert all(isinstance(reached(row), float) == (row["status"] == "done") for row in rows)


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


def config_of(**overrides):
    return resolve(presets.get("mnist5k"), {k.replace("__", "."): v for k, v in overrides.items()}).to_dict()


def test_several_workdirs_are_one_table_and_one_picture(tmp_path, capsys):
    """What differs only from one workdir to the other is a column, and a trial that both have counts once."""
    slow = [config_of(optim__learning_rate=0.05, model__alpha=alpha) for alpha in (1.0, 0.5)]
    fast = [config_of(optim__learning_rate=0.1, model__alpha=alpha) for alpha in (1.0, 0.5)]
    first, second = finish(tmp_path / "a", slow), finish(tmp_path / "b", [*fast, slow[0]], top1=lambda i: 0.6 + i / 100)
    second.trial("trial-00000002").path.rename(second.trial("base-00000000").path)  # the hash that it has in the first
    second.set_sweep({"trials": {"base-00000000": {"mult_adds": 1000, "params": 10}}})
    before = [(workdir.path / "results.csv").exists() for workdir in (first, second)]
    arguments = ["--workdir", str(first.path), "--workdir", str(second.path), "--output", str(tmp_path / "both")]
    assert report.main(arguments) == 0
    rows = results.read(tmp_path / "both" / "results.csv")
    assert [(row["optim.learning_rate"], row["alpha"], row["top1"]) for row in rows] == [
        (0.05, 1.0, 0.5),
        (0.05, 0.5, 0.51),
        (0.1, 1.0, 0.6),
        (0.1, 0.5, 0.61),
    ]
    assert list(rows[0])[-1] == "replicate"
    assert len({row["replicate"] for row in rows}) == 4
    assert (tmp_path / "both" / "accuracy_vs_mult_adds.png").exists()
    assert [(workdir.path / "results.csv").exists() for workdir in (first, second)] == before
    assert "means" not in capsys.readouterr().out


def test_a_trial_that_is_damaged_in_one_workdir_and_done_in_another_is_done(tmp_path):
    first, second = (finish(tmp_path / name, [config_of()]) for name in "ab")
    (first.trial("trial-00000000").path / "config.json").write_text("{")
    for paths in ((first.path, second.path), (second.path, first.path)):
        (row,) = results.results(*paths)
        assert (row["status"], row["top1"]) == ("done", 0.5)


def test_a_table_that_somebody_touched_is_read(tmp_path):
    table = tmp_path / "results.csv"
    table.write_text(TABLES[0].read_text() + "\n\n")
    assert results.read(table) == results.read(TABLES[0])


def test_a_table_of_an_earlier_version_joins_others(tmp_path):
    workdir = finish(tmp_path / "new", [config_of()])
    rows = results.results(TABLES[0].parent, workdir.path)
    assert len(rows) == len(results.read(TABLES[0])) + 1
    assert len({tuple(row) for row in rows}) == 1, "all have the same columns"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir", "a", "--workdir", "b"], "several workdirs need --output DIR"),
        (["--workdir", "a", "--output", "b"], "--output b: is a workdir with trials of its own"),
        (["--workdir", "a", "--output", "f"], "--output f: its table has .*, which no --workdir has"),
        (["--workdir", "a", "--workdir", "c", "--output", "d"], "c/results.csv does not exist"),
        (["--workdir", "e"], r"e/results.csv is damaged \(it has no column 'trial'\)"),
    ],
)
def test_what_cannot_be_reported_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        finish(tmp_path / name, [config_of()])
    shutil.copytree(TABLES[0].parent, tmp_path / "f")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "results.csv").write_text("")
    with pytest.raises(SystemExit) as caught:
        report.main(arguments)
    assert caught.value.code == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])
    assert not (tmp_path / "d").exists()
