import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from mnet_jax.report import plots
from mnet_jax.report.tables import as_summary
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir


def rows_of(dataset="mnist5k", model="mobilenet_v1", seeds=(0,)):
    found = []
    for alpha in (1.0, 0.5):
        for size in (28, 16):
            for seed in seeds:
                row = dict.fromkeys(results.COLUMNS)
                row |= {"trial": f"{alpha}-{size}-{seed}", "status": "done", "model": model, "alpha": alpha}
                row |= {"input_size": size, "seed": seed, "mult_adds": int(alpha**2 * size**2 * 1000)}
                row |= {"params": int(alpha**2 * 1e6), "top1": 0.5 + alpha / 10 + size / 100 + seed / 50, "top5": 1.0}
                row |= {"loss": 0.5, "epochs": 3.0, "steps": 10, "dataset": dataset, "test_images": 1000}
                found.append(row)
    return found


def write(tmp_path, rows):
    workdir = Workdir(tmp_path)
    results.write(workdir, rows)
    return workdir


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, in order."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kw: (saved.append(self), save(self, *args, **kw)))
    return saved


def test_a_table_survives_its_file(tmp_path):
    rows = [*rows_of(), dict.fromkeys(results.COLUMNS) | {"trial": "a,b", "status": "failed", "error": 'said "no"\n'}]
    assert results.read(write(tmp_path, rows).results_path) == rows


def test_the_plot_has_a_line_per_size_a_marker_per_alpha_and_units(tmp_path, figures):
    paths = plots.draw(write(tmp_path, rows_of()))
    assert [path.rpartition("/")[2] for path in paths] == ["accuracy_vs_mult_adds.png", "accuracy_vs_params.png"]
    (axes,) = figures[0].axes
    assert axes.get_xscale() == "log"
    assert "Mult-Adds" in axes.get_xlabel()
    assert "%" in axes.get_ylabel()
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["input size 28", "input size 16", "alpha 1", "alpha 0.5"]
    lines = {line.get_color(): line.get_xydata().tolist() for line in axes.lines if len(line.get_xydata()) == 2}
    assert [[196000, 83], [784000, 88]] in [[[x, round(y)] for x, y in line] for line in lines.values()]


def test_several_seeds_become_a_mean_with_an_error_bar(tmp_path, figures):
    plots.draw(write(tmp_path, rows_of(seeds=(0, 1, 2))))
    (axes,) = figures[0].axes
    bars = [container for container in axes.containers if container.has_yerr]
    assert len(bars) == 4
    assert len(axes.get_lines()[0].get_xydata()) == 2


def test_a_table_of_means_and_standard_deviations_follows_where_there_are_several_seeds():
    assert as_summary(rows_of()) == ""
    header, first, *others = as_summary([*rows_of(seeds=(0, 1, 2)), rows_of()[0] | {"status": "failed"}]).splitlines()
    assert header.split() == ["alpha", "input_size", "mult_adds", "params", "n", "top1", "sd", "top5", "loss"]
    assert first.split() == ["1.0", "28", "784,000", "1,000,000", "3", "0.9000", "0.0200", "1.0000", "0.5000"]
    assert len(others) == 3


def test_imagenet_stands_beside_the_papers_curve(tmp_path, figures):
    plots.draw(write(tmp_path, rows_of("imagenet", "mobilenet_v2")))
    ours, published = figures[0].axes
    assert "published" in published.get_title()
    top = max(y for line in published.lines for y in line.get_ydata())
    assert top == pytest.approx(71.8)
    assert ours.get_ylim() == published.get_ylim()


def test_unfinished_trials_are_not_drawn(tmp_path):
    rows = rows_of()
    for row in rows:
        row["status"] = "running"
    assert plots.draw(write(tmp_path, rows)) == []


def test_the_command_redraws_from_files_without_jax(tmp_path):
    write(tmp_path, rows_of())
    code = (
        "import sys; from mnet_jax.report import __main__ as report; "
        f"code = report.main(['--workdir', {str(tmp_path)!r}]); "
        "assert not {'jax', 'flax', 'tensorflow'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "196,000" in done.stdout
    assert (tmp_path / "accuracy_vs_mult_adds.png").exists()


def test_a_folder_without_a_table_is_refused(tmp_path, command):
    done = command("mnet_jax.report", "--workdir", tmp_path)
    assert done.returncode == 2
    assert "results.csv does not exist" in done.stderr


def test_trials_that_differ_in_their_options_are_no_replicates(tmp_path, figures):
    rows = [rows_of()[0] | {"options": None, "top1": 0.9}, rows_of()[0] | {"options": "residual=False", "top1": 0.8}]
    plots.draw(write(tmp_path, rows))
    (axes,) = figures[0].axes
    assert sorted(round(y) for line in axes.lines for y in line.get_ydata()) == [80, 80, 90, 90]
    assert [text.get_text() for text in axes.texts] == ["residual=False"]


def test_the_options_of_a_trial_are_what_no_other_column_says():
    name = "name=mobilenet_v1,alpha=0.5,mean=(0.1, 0.2),separable=False,init_from=w.h5-0123abcd"
    assert results._options(name) == "mean=(0.1, 0.2),separable=False"
    assert results._options("alpha=0.5-0123abcd") is None
