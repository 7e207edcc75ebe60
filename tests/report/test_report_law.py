"""The law through the command, on real tables: what is answered, and each refusal in words."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from mnet_jax.report import __main__ as report
from mnet_jax.workdir import predictions, results
from mnet_jax.workdir.files import Workdir
from tests.report.grids import grid, segmented

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
REAL = pathlib.Path(__file__).parent / "real_grid/results.csv"  # V1 on Fashion-MNIST, at one rate for all
FORMS = ["logit_quadratic", "power_with_floor", "log_linear", "mult_adds_power"]


def write(path, rows):
    """A folder that has only a table."""
    path.mkdir()
    results.write(Workdir(path), rows)
    return path


def law_of(path):
    return json.loads((path / "law.json").read_text())["families"]


@pytest.fixture
def told(capsys):
    """Reports a folder; returns the families of law.json and what was printed."""

    def run(path, *arguments):
        assert report.main(["--workdir", str(path), *arguments]) == 0
        return law_of(path), capsys.readouterr().out

    return run


@pytest.fixture
def real(tmp_path):
    """A folder with some rows of the grid on Fashion-MNIST: 4 alphas, 4 input sizes, 3 seeds."""

    def make(is_wanted=lambda row: True, change=lambda row: row):
        rows = [change(row) for row in results.read(REAL) if is_wanted(row)]
        return write(tmp_path / "real", rows)

    return make


def assert_nothing_is_invented(family):
    """A form that is refused has no number."""
    for form in family["forms"]:
        if form["refused"]:
            numbers = {key: form[key] for key in ("coefficients", "intervals", "loo_mean_pp", "loo_max_pp")}
            assert numbers == dict.fromkeys(numbers), form["name"]


def test_a_full_grid_has_a_law_neighbours_and_a_front(real, told):
    (family,), printed = told(real(), "--predict", "alpha=0.6,input_size=22", "--budget", "20M")
    assert family["model"] == "mobilenet_v1"
    assert len(family["cells"]) == 16
    assert [form["name"] for form in family["forms"]] == FORMS
    assert set(family["forms"][0]) >= {"name", "coefficients", "loo_mean_pp", "loo_max_pp", "refused"}
    assert family["forms"][0]["refused"] is None
    assert 0.2 < family["forms"][0]["loo_mean_pp"] < family["forms"][0]["loo_max_pp"] < 2
    assert family["forms"][1]["refused"].startswith("the floor is not identified")
    assert_nothing_is_invented(family)
    assert len(family["neighbours"]) == 24
    assert set(family["neighbours"][0]) >= {"a", "b", "gap_pp", "half_width_pp", "told_apart"}
    told_apart = [pair for pair in family["neighbours"] if pair["told_apart"]]
    assert 0 < len(told_apart) < 24
    assert all(abs(pair["gap_pp"]) > pair["half_width_pp"] for pair in told_apart)
    labels = {cell["label"] for cell in family["cells"]}
    assert set(family["pareto"]) < labels
    assert "alpha=0.25,input_size=16" in family["pareto"], "nothing is cheaper"
    assert re.search(r"not told apart: -?\d\.\d \+- 0\.9 points; this sweep sees gaps from 1\.5", printed)
    assert "Intervals: 95%, of seeds only, on this test set" in printed
    answer = re.search(r"alpha=0.6,input_size=22: top-1 ([\d.]+)% \(95% \[([\d.]+), ([\d.]+)\]", printed)
    top1, low, high = map(float, answer.groups())
    assert 84 < low < top1 < high < 86.5
    assert "Mult-Adds, interpolated)" in printed
    assert "best of the cells: alpha=0.5,input_size=28, top-1 86.4%, 13.3 M, counted" in printed
    assert re.search(r"best by the law: alpha=0\.\d+,input_size=2\d: .* logit_quadratic, .* interpolated\)", printed)


SMALL = {
    "one cell": ((1.0,), (28,), "alpha and input_size have one level each: nothing to fit (there is 1 cell)"),
    "two alphas": ((1.0, 0.5), (28,), "needs 5 cells; there are 2 cells with 2 levels of alpha, 1 level of input_size"),
    "three cells": (
        (1.0, 0.5, 0.25),
        (28,),
        "needs 5 cells; there are 3 cells with 3 levels of alpha, 1 level of input_size",
    ),
    "two by two": (
        (1.0, 0.5),
        (28, 20),
        "needs 5 cells; there are 4 cells with 2 levels of alpha, 2 levels of input_size",
    ),
}


@pytest.mark.parametrize(("alphas", "sizes", "reason"), SMALL.values(), ids=SMALL)
def test_a_small_sweep_is_refused_in_words(real, told, alphas, sizes, reason):
    folder = real(lambda row: row["alpha"] in alphas and row["input_size"] in sizes)
    (family,), printed = told(folder, "--predict", "alpha=1,input_size=28", "--budget", "1G")
    assert [bool(form["refused"]) for form in family["forms"]] == [True] * 4
    assert family["forms"][2]["refused"] == reason
    assert reason in printed
    assert_nothing_is_invented(family)
    assert len(family["neighbours"]) == {1: 0, 2: 1, 3: 2, 4: 4}[len(family["cells"])]
    assert "top-1" not in printed.partition("mobilenet_v1: ")[2].partition("\n")[0], "no accuracy is predicted"
    assert "best of the cells: " in printed


def test_a_diverged_cell_is_named_and_not_fitted(real, told):
    def diverge(row):
        is_it = (row["alpha"], row["input_size"], row["seed"]) == (0.5, 20, 1)
        return row | {"status": "diverged", "top1": None, "error": "the loss of step 7 is nan"} if is_it else row

    (family,), printed = told(real(change=diverge))
    assert len(family["cells"]) == 15
    assert family["left_out"] == ["alpha=0.5,input_size=20 is not used: a trial diverged"]
    assert family["left_out"][0] in printed
    assert family["forms"][0]["refused"] is None, "fifteen cells are enough"
    assert len(family["neighbours"]) == 20


def test_one_seed_has_a_fit_no_interval_and_nobody_told_apart(real, told):
    (family,), printed = told(real(lambda row: row["seed"] == 0), "--predict", "alpha=0.6,input_size=22")
    assert family["forms"][0]["loo_mean_pp"] > 0
    assert family["intervals_of"] is None
    assert all(form["intervals"] is None for form in family["forms"])
    assert {(pair["half_width_pp"], pair["told_apart"]) for pair in family["neighbours"]} == {(None, False)}
    assert len(family["pareto"]) == 16
    assert "No intervals: one seed, and no record of what each trial makes of single images." in printed
    assert "one seed says nothing of another run, so nobody is told apart" in printed
    assert re.search(r"alpha=0.6,input_size=22: top-1 [\d.]+% \(no interval; ", printed)
    errors = {(cell["standard_error_of"], round(cell["standard_error_pp"], 1)) for cell in family["cells"]}
    assert errors <= {("images", 0.3), ("images", 0.4)}


def test_mixed_recipes_are_never_in_one_fit(tmp_path, capsys):
    """The grid of 2 epochs, two of its sizes, beside widths that say 6 epochs."""
    rows = results.read(REAL)
    short = write(tmp_path / "short", [row for row in rows if row["input_size"] in (28, 24)])
    changes = {"epochs": 6.0, "replicate": "longer"}
    widths = [row for row in rows if (row["input_size"], row["seed"]) == (28, 0)]
    long = write(tmp_path / "long", [row | changes | {"trial": f"long{i}-{i:08x}"} for i, row in enumerate(widths)])
    both = tmp_path / "both"
    folders = ["--workdir", str(short), "--workdir", str(long)]
    assert report.main([*folders, "--output", str(both)]) == 0
    printed = capsys.readouterr().out
    first, second = law_of(both)
    assert (len(first["cells"]), first["recipe"]) == (8, {"epochs": 2.0})
    assert (len(second["cells"]), second["recipe"]) == (4, {"epochs": 6.0})
    assert first["forms"][0]["refused"].endswith("; 4 cells of other recipes are not mixed in")
    assert "The law of mobilenet_v1, epochs 6.0: 4 cells" in printed
    for family in (first, second):
        assert_nothing_is_invented(family)


def test_outside_the_grid_the_quadratic_is_silent_and_the_answer_is_a_warning(tmp_path, told):
    rows = grid((1.0, 0.75, 0.5, 0.25), (28, 24, 20, 16), (0, 1, 2), spread=0.0005)
    rows = [row | {"seed": i} for i, row in enumerate(rows)]
    _, printed = told(write(tmp_path / "a", rows), "--predict", "alpha=1.2,input_size=28", "--budget", "100M")
    (said,) = [line for line in printed.splitlines() if line.startswith("mobilenet_v1: alpha=1.2")]
    assert "WARNING: outside the grid's range" in said
    assert "power_with_floor" in said
    assert "logit_quadratic" not in said
    assert "WARNING: the budget is outside the grid's range, where no form is safe; mult_adds_power, which" in printed
    _, printed = told(tmp_path / "a", "--budget", "10k")
    assert "no cell: the cheapest is alpha=0.25,input_size=16 with 0.2041 M" in printed


def test_a_trained_cell_is_predicted_with_its_counted_cost(tmp_path, told):
    folder = write(tmp_path / "a", grid((1.0, 0.75, 0.5), (28, 24, 20)))
    _, printed = told(folder, "--predict", "alpha=0.5,input_size=28")
    assert "2.5 M Mult-Adds, counted)" in printed


def test_along_one_axis_the_other_may_be_left_out(tmp_path, told):
    folder = write(tmp_path / "a", grid((1.0, 0.75, 0.5, 0.35, 0.25), (28,)))
    _, printed = told(folder, "--predict", "alpha=0.6")
    assert re.search(r"alpha=0.6,input_size=28: top-1 [\d.]+% ", printed)
    _, printed = told(folder, "--predict", "alpha=0.6,input_size=20")
    assert "mobilenet_v1: nothing is known of input_size 20: all cells have 28" in printed


def test_segmentations_have_a_law_of_miou(tmp_path, told):
    folder = write(tmp_path / "a", segmented(grid((1.0, 0.75, 0.5), (28, 24, 20), (0, 1, 2), spread=0.001)))
    (family,), printed = told(folder, "--predict", "alpha=0.6,input_size=24", "--budget", "5M")
    assert family["model"] == "deeplab_mobilenet_v2"
    assert family["cells"][0]["miou"] == pytest.approx(0.89)
    assert re.search(r"alpha=0.6,input_size=24: mIoU [\d.]+% \(95%", printed)
    assert re.search(r"best of the cells: alpha=[\d.]+,input_size=\d+, mIoU [\d.]+%, [\d.]+ M, counted", printed)
    assert "mIoU of the first minus the second, with the 95% interval" in printed
    assert "top-1" not in printed


def test_bits_of_several_seeds_make_intervals_of_new_images(tmp_path, told, capsys):
    """From a folder of tables; a report with --output takes the bits along."""
    hardness = np.random.default_rng(0).permutation(1000) / 1000
    rows = grid((1.0, 0.75, 0.5), (28, 24, 20), (0, 1, 2), lambda a, s: round(0.9 - 0.05 / a, 3), spread=0.002)
    bits = {row["trial"]: hardness < row["top1"] for row in rows}
    folder = write(tmp_path / "a", [row | {"top1": float(bits[row["trial"]].mean())} for row in rows])
    predictions.write_all(Workdir(folder), bits)
    (family,), printed = told(folder)
    assert family["intervals_of"] == "seeds and test images"
    copy = tmp_path / "copy"
    assert report.main(["--workdir", str(folder), "--output", str(copy)]) == 0
    assert law_of(copy) == [family]
    (folder / "predictions.npz").write_bytes(b"damaged")
    capsys.readouterr()
    (damaged,), printed = told(folder)
    assert damaged["intervals_of"] == "seeds only, on this test set"
    assert f"{folder / 'predictions.npz'} is damaged (" in printed
    assert [cell["top1"] for cell in damaged["cells"]] == [cell["top1"] for cell in family["cells"]]


@pytest.mark.parametrize(
    ("model", "num_cells", "loo"),
    [("mobilenet_v1", 16, (0.19, 0.52)), ("mobilenet_v2", 18, (0.41, 1.58))],
)
def test_the_published_grid_is_reported_without_a_workdir(tmp_path, capsys, model, num_cells, loo):
    output = tmp_path / "published"
    asked = ["--predict", "alpha=0.6,input_size=176", "--budget", "100e6"]
    assert report.main(["--published", model, "--output", str(output), *asked]) == 0
    printed = capsys.readouterr().out
    (family,) = law_of(output)
    assert (family["model"], len(family["cells"]), family["left_out"]) == (model, num_cells, [])
    quadratic = family["forms"][0]
    assert (quadratic["loo_mean_pp"], quadratic["loo_max_pp"]) == pytest.approx(loo, abs=0.02)
    assert sorted(path.name for path in output.iterdir()) == [
        "accuracy_vs_mult_adds.png",
        "accuracy_vs_params.png",
        "law.json",
        "results.csv",
    ]
    assert f"{model}: alpha=0.6,input_size=176: top-1 6" in printed
    assert "at most 100 M Mult-Adds" in printed
    assert report.main(["--published", model, "--output", str(output)]) == 0, "again, over the same folder"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--workdir DIR is missing, or --published FAMILY --output DIR"),
        (["--published", "mobilenet_v3", "--output", "o"], "no published grid of that name: did you mean mobilenet_v"),
        (["--published", "resnet", "--output", "o"], "; there are mobilenet_v1 and mobilenet_v2"),
        (["--published", "mobilenet_v1"], "--published needs --output DIR"),
        (
            ["--published", "mobilenet_v1", "--output", "o", "--workdir", "a"],
            "--workdir has no effect beside --published",
        ),
        (["--workdir", "a", "--predict", "alhpa=0.5"], "there is no axis 'alhpa' in the law: did you mean alpha?"),
        (
            ["--workdir", "a", "--predict", "seed=1"],
            "there is no axis 'seed' in the law; there are alpha and input_size",
        ),
        (["--workdir", "a", "--predict", "0.5"], "'0.5' is no AXIS=VALUE, such as alpha=0.6,input_size=176"),
        (["--workdir", "a", "--predict", "alpha=1,alpha=2"], "alpha stands there twice"),
        (["--workdir", "a", "--predict", "alpha=-1"], "alpha must be a positive number, not '-1'"),
        (["--workdir", "a", "--predict", "input_size=20.5"], "must be a positive whole number of pixels, not '20.5'"),
        (
            ["--workdir", "a", "--predict", "alpha=0.5"],
            "--predict: input_size is missing, of which mobilenet_v1 has 28, 20",
        ),
        (
            ["--workdir", "a", "--budget", "lots"],
            "--budget lots: must be a positive number of Mult-Adds, such as 100e6 or 100M",
        ),
        (["--workdir", "a", "--budget", "nan"], "--budget nan: must be a positive number"),
    ],
)
def test_bad_input_ends_with_one_line_before_anything_is_written(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a", grid((1.0, 0.5), (28, 20)))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        report.main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sweep_whose_trials_are_all_unfinished_is_told(tmp_path, told):
    rows = [row | {"status": "running", "top1": None} for row in grid((1.0, 0.5), (28,))]
    (family,), printed = told(write(tmp_path / "a", rows), "--predict", "alpha=1,input_size=28", "--budget", "1G")
    assert family["cells"] == []
    assert family["left_out"][0] == "alpha=1.0,input_size=28 is not used: it is running, not done"
    assert "no cell is done yet: nothing to predict from" in printed


def test_many_recipes_of_one_cell_are_one_line(tmp_path, told):
    rows = [row for rate in (0.1, 0.2, 0.3) for row in grid((1.0,), (28,), **{"optim.learning_rate": rate})]
    found, printed = told(write(tmp_path / "a", rows))
    assert len(found) == 3
    assert (
        "3 recipes have no two cells that differ in alpha or input_size alone: nothing to fit or to compare" in printed
    )


def test_an_ablation_has_no_law(tmp_path, told):
    found, _ = told(shutil.copytree(EXPERIMENTS / "ablation_fashion_mnist", tmp_path / "old"))
    assert all(form["refused"] for family in found for form in family["forms"])


def test_the_committed_grid_is_in_the_papers_order_and_its_law_is_what_the_report_says(tmp_path, told):
    """From the table and the bits of `experiments/fashion_mnist_grid`, as its page quotes them."""
    (family, *others), _ = told(shutil.copytree(EXPERIMENTS / "fashion_mnist_grid", tmp_path / "grid"))
    assert not others
    assert family["intervals_of"] == "seeds and test images"
    assert len(family["neighbours"]) == 24
    assert all(pair["gap_pp"] > 0 for pair in family["neighbours"])
    assert sum(pair["told_apart"] for pair in family["neighbours"]) == 11
    assert family["forms"][0]["loo_mean_pp"] == pytest.approx(0.10, abs=0.005)
