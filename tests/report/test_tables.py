"""Text for people: aligned columns, and means over trials that differ in nothing but a seed."""

from mnet_jax import presets
from mnet_jax.config.resolve import resolve
from mnet_jax.report.tables import as_summary, as_table, table
from mnet_jax.workdir import results
from tests.finished import finish


def collected(path, *overrides, **kw):
    return results.collect(finish(path, [resolve(presets.get("mnist5k"), own).to_dict() for own in overrides], **kw))


def test_numbers_stand_to_the_right_and_no_blanks_follow():
    lines = table(("name", "n"), [("a", "1"), ("longer", "1,000")], (False, True)).splitlines()
    assert lines == ["name        n", "a           1", "longer  1,000"]
    assert table(("n", "name"), [("1", "a"), ("10", "b")], (True, False)).splitlines() == [" n  name", " 1  a", "10  b"]


def test_a_long_row_is_neither_cut_nor_wrapped():
    words = ["x" * 400, "[red]not markup[/red]", ":smile:"]
    _, row = table(("a", "b", "c"), [words], (False,) * 3).splitlines()
    assert row.split("  ") == words


def test_a_table_without_rows_is_its_header():
    assert table(("a", "b"), [], (False, True)) == "a  b"


def test_the_table_has_a_line_per_trial_and_a_dash_for_what_is_not_there(tmp_path):
    rows = collected(tmp_path, {}, {"model.alpha": 0.5})
    rows[1] |= {"top1": None, "status": "running"}
    header, first, second = as_table(rows).splitlines()
    assert header.split()[:3] == ["trial", "mult_adds", "params"]
    assert first.split() == [
        "trial-00000000",
        "1,000",
        "10",
        "0.5000",
        "0.0500",
        "1.0000",
        "0.5000",
        "1.0",
        "2.0",
        "done",
    ]
    assert second.split()[3:5] == ["-", "-"]


def test_means_are_taken_over_seeds(tmp_path):
    seeds = [{"model.alpha": alpha, "seed": seed} for alpha in (1.0, 0.5) for seed in (0, 1, 2)]
    rows = collected(tmp_path, *seeds, top1=lambda i: 0.9 + i % 3 / 100, cost=lambda i: 1000)
    header, first, second = as_summary([*rows, rows[0] | {"status": "failed"}]).splitlines()
    assert header.split() == ["alpha", "mult_adds", "params", "n", "top1", "sd", "se", "top5", "loss"]
    assert first.split() == ["1.0", "1,000", "10", "3", "0.9100", "0.0100", "0.0058", "1.0000", "0.5000"]
    assert second.split()[0] == "0.5"


def test_no_mean_is_taken_over_epochs(tmp_path):
    """0.5 and 0.9 once became 0.7 with an "sd"."""
    trials = [{"train.epochs": epochs, "data.seed": seed} for epochs in (2.0, 8.0) for seed in (0, 1)]
    summary = as_summary(collected(tmp_path, *trials, top1=lambda i: (0.5, 0.5, 0.9, 0.9)[i]))
    assert [line.split()[0] for line in summary.splitlines()] == ["epochs", "2.0", "8.0"]
    assert "0.7000" not in summary


def test_without_replicates_there_are_no_means(tmp_path):
    assert as_summary(collected(tmp_path, {}, {"optim.learning_rate": 0.3})) == ""


def test_swept_fields_are_columns_of_the_means(tmp_path):
    trials = [{"optim.weight_decay": decay, "data.flip": decay > 0, "seed": s} for decay in (0.0, 1e-4) for s in (0, 1)]
    header, *lines = as_summary(collected(tmp_path, *trials)).splitlines()
    assert header.split()[:2] == ["data.flip", "optim.weight_decay"]
    assert [line.split()[:2] for line in lines] == [["False", "0.0"], ["True", "0.0001"]]


def test_in_a_table_of_an_earlier_version_every_setting_must_agree():
    row = dict.fromkeys(results.COLUMNS) | {"status": "done", "model": "mobilenet_v1", "alpha": 1.0, "input_size": 28}
    row |= {"top1": 0.5, "top5": 1.0, "loss": 1.0, "mult_adds": 10, "params": 10, "epochs": 2.0, "seed": 0}
    row |= {"learning_rate": 0.1, "options": None, "cache": None, "test_images": 100}
    again = row | {"seed": 1, "steps": 3, "wall_seconds": 2.0, "trial": "b"}
    assert as_summary([row, again]).splitlines()[1].split()[2] == "2"
    for key, value in {"epochs": 4.0, "learning_rate": 0.2, "options": "x=1", "cache": "s", "test_images": 9}.items():
        assert as_summary([row, row | {key: value}]) == "", f"trials that differ in {key} are no replicates"


def test_rows_that_no_trial_reached_have_only_what_is_asked_for():
    """As `--dry_run` lists them."""
    row = {"trial": "a", "mult_adds": 2000, "params": 10, "status": "queued"}
    assert as_table([row], ("trial", "mult_adds", "status")).splitlines()[1].split() == ["a", "2,000", "queued"]
