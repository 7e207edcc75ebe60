"""From config to table: which columns there are, which trials are replicates, and that the file keeps every value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnet_jax.config.fields import BY_KEY, FIELDS
from mnet_jax.report.points import points
from mnet_jax.report.styles import Styles
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir
from tests.every_field import CONFIGS, another, config_of, flat_of
from tests.finished import changed, finish

CASES = [
    pytest.param(config, field, id=f"{name}: {field.key}")
    for name, config in CONFIGS.items()
    for field in FIELDS
    if field.has_effect(flat_of(config)) and (name == "sgd" or not field.has_effect(flat_of(CONFIGS["sgd"])))
]


def test_the_cases_below_cover_every_field_that_can_have_an_effect():
    never = {"preset", "chosen", "data.data_dir", "data.source_dir", "data.max_bad_images", "data.read_threads"}
    never |= {"folder", "tuning", "data.classes", "data.class_names", "train.init_from"}
    never |= {"model.path", "model.spec", "model.fingerprint", "model.source"}
    never |= {field.key for field in FIELDS if field.key.startswith("launch.") or "_every_" in field.key}
    covered = {case.values[1].key for case in CASES}
    assert covered == set(BY_KEY) - (never - {"optim.decay_every_epochs"})


@pytest.mark.parametrize(("config", "field"), CASES)
def test_two_values_of_a_field_are_two_rows_two_points_and_a_column_that_says_which(tmp_path, config, field):
    other = changed(config, field.key, another(field, flat_of(config)[field.key]))
    rows = results.collect(finish(tmp_path, [config, other]))
    differ = {column for column in rows[0] if rows[0][column] != rows[1][column]}
    differ -= {"trial", "mult_adds", "top1", "replicate"}
    assert differ, f"no column tells the two values of {field.key} apart"
    if field.key in results.SEEDS:
        assert rows[0]["replicate"] == rows[1]["replicate"], f"trials that differ in {field.key} are replicates"
        (point,) = points(rows)
        assert point.error > 0, "seeds give one point with an error bar"
        return
    assert rows[0]["replicate"] != rows[1]["replicate"], f"{field.key} can change a result, so these are no replicates"
    both = points(rows)
    assert len(both) == 2
    styles = Styles([both])
    looks = {(styles.color(0, point), styles.marker(0, point), styles.text(0, [point])) for point in both}
    assert len(looks) == 2, f"two points of different {field.key} look the same"


def test_every_field_at_once_tells_every_trial_apart(tmp_path):
    config = CONFIGS["sgd"]
    fields = [case.values[1] for case in CASES if case.values[0] is config and case.values[1].key not in results.SEEDS]
    others = [changed(config, field.key, another(field, flat_of(config)[field.key])) for field in fields]
    rows = results.collect(finish(tmp_path, [config, *others]))
    assert len({row["replicate"] for row in rows}) == len(rows)
    styles = Styles([points(rows)])
    looks = {(styles.color(0, p), styles.marker(0, p), styles.text(0, [p])) for p in points(rows)}
    assert len(looks) == len(rows)


def test_a_table_has_the_contracts_columns_then_what_differs_then_replicate(tmp_path):
    configs = [
        config_of({"optim.learning_rate": rate, "model.alpha": alpha, "data.seed": seed})
        for rate, alpha, seed in ((0.1, 1.0, 0), (0.2, 0.5, 1))
    ]
    rows = results.collect(finish(tmp_path, configs))
    fixed = (*results.CONTRACT, "peak_activation_bytes", "dataset", "test_images", "num_classes", "error")
    assert list(rows[0]) == [*fixed, "data.seed", "optim.learning_rate", "replicate"]
    assert results.CONTRACT[:4] == ("trial", "status", "model", "alpha")
    row = rows[1]
    assert (row["alpha"], row["optim.learning_rate"], row["data.seed"], row["epochs"]) == (0.5, 0.2, 1, 8.0)
    assert (row["mult_adds"], row["params"], row["top1"], row["status"]) == (2000, 10, 0.51, "done")
    assert (row["model"], row["dataset"], row["device"]) == ("mobilenet_v1", "mnist5k", "1 x CPU")


def test_the_options_of_one_network_are_no_columns_of_another(tmp_path):
    """V2 has an expansion, V1 has none: `model` says so already."""
    names = [{"model.name": name} for name in ("mobilenet_v1", "mobilenet_v2")]
    columns = list(results.collect(finish(tmp_path / "a", map(config_of, names)))[0])
    assert not {"model.expansion", "model.residual", "model.separable"} & set(columns)
    more = [*names, {"model.name": "mobilenet_v2", "model.residual": False}]
    rows = results.collect(finish(tmp_path / "b", map(config_of, more)))
    assert [row["model.residual"] for row in rows] == [None, True, False]


def own_network(**options):
    own = {"name": "nets.py:Net", "num_classes": 10, "fingerprint": "aa"}
    return config_of() | {"model": own | options}


def test_a_network_of_ones_own_has_its_options_and_no_alpha(tmp_path):
    rows = results.collect(finish(tmp_path, [own_network(width=8), own_network(width=16), own_network(width=16)]))
    assert [row["model.width"] for row in rows] == [8, 16, 16]
    assert [row["alpha"] for row in rows] == [None] * 3
    assert "model.fingerprint" not in rows[0], "it is the same for all"
    assert rows[1]["replicate"] == rows[2]["replicate"] != rows[0]["replicate"]


@pytest.mark.parametrize("other", [{"fingerprint": "bb"}, {"pad": False}, {"pad": 0}, {"fingerprint": None}])
def test_a_changed_source_or_a_new_option_makes_another_network(tmp_path, other):
    rows = results.collect(finish(tmp_path, [own_network(), own_network(**other)]))
    assert rows[0]["replicate"] != rows[1]["replicate"]
    (key,) = other
    assert rows[0][f"model.{key}"] != rows[1][f"model.{key}"]


def test_what_cannot_change_a_result_makes_no_difference(tmp_path):
    config = config_of()
    same = [config, changed(config, "train.log_every_steps", 7), changed(config, "launch.weights_dir", "w")]
    same += [changed(config, "launch.trials_per_stream", 4), changed(config, "optim.rmsprop_decay", 0.5)]
    rows = results.collect(finish(tmp_path, same))
    assert len({row["replicate"] for row in rows}) == 1
    assert list(rows[0])[-2:] == ["error", "replicate"]


def test_a_config_of_an_earlier_version_has_the_defaults_of_newer_fields(tmp_path):
    config = config_of()
    old = changed(config, "seed", 3)
    for field in ("cache_side", "cache_quality", "seed", "eval_filter"):
        del old["data"][field]
    old["data"]["eval_filter"] = config["data"]["eval_filter"]
    rows = results.collect(finish(tmp_path, [config, old]))
    assert rows[0]["replicate"] == rows[1]["replicate"]


def test_weights_whose_content_nobody_recorded_are_told_apart_by_their_path(tmp_path):
    configs = [changed(config_of(), "train.init_from", path) for path in ("a.h5", "b.h5", None)]
    rows = results.collect(finish(tmp_path, configs))
    assert [row["train.init_from"] for row in rows] == ["a.h5", "b.h5", None]
    assert len({row["replicate"] for row in rows}) == 3


def test_weights_of_known_content_are_named_by_their_path_and_are_replicates_by_their_content(tmp_path):
    weights = [("a.h5", "1" * 16), ("b.h5", "2" * 16), ("copy/a.h5", "1" * 16)]
    configs = [
        changed(changed(config_of(), "train.init_from", path), "train.init_fingerprint", content)
        for path, content in weights
    ]
    rows = results.collect(finish(tmp_path, configs))
    assert [(row["train.init_from"], row["train.init_fingerprint"]) for row in rows] == weights
    assert rows[0]["replicate"] == rows[2]["replicate"] != rows[1]["replicate"]
    styles = Styles([points(rows)])
    assert [handle.get_label() for handle in styles.handles(0, points(rows))] == ["init from a.h5", "init from b.h5"]


def test_two_sources_under_one_tfds_name_are_told_apart(tmp_path):
    configs = [changed(changed(config_of(), "data.tfds_name", "x"), "data.name", name) for name in ("a", "b")]
    rows = results.collect(finish(tmp_path, configs))
    assert [(row["dataset"], row["data.name"]) for row in rows] == [("x", "a"), ("x", "b")]


def _empty(folder, name):
    (folder.path / name).write_text("")


def _list(folder, name):
    (folder.path / name).write_text("[1]")


def _missing(folder, name):
    (folder.path / name).unlink()


def _folder(folder, name):
    (folder.path / name).unlink()
    (folder.path / name).mkdir()


def _binary(folder, name):
    (folder.path / name).write_bytes(b"\xff\x00\xfe")


def _other_types(folder, name):
    (folder.path / name).write_text('{"model": {"name": null}, "train": {"epochs": "x"}, "status": "done", "top1": {}}')


@pytest.mark.parametrize("harm", [_empty, _list, _missing, _folder, _binary, _other_types])
@pytest.mark.parametrize("name", ["config.json", "status.json", "result.json"])
def test_a_damaged_trial_has_a_row_that_says_so_and_leaves_the_others_alone(tmp_path, harm, name):
    workdir = finish(tmp_path, [config_of(), config_of({"model.alpha": 0.5}), config_of({"model.alpha": 0.25})])
    whole = results.collect(workdir)
    harm(workdir.trial(whole[1]["trial"]), name)
    rows = results.collect(workdir)
    assert [rows[0], rows[2]] == [whole[0], whole[2]]
    if name == "status.json":  # the result says that it is done
        assert rows == whole
        return
    assert rows[1]["status"] == {"config.json": "failed", "result.json": "queued"}[name]
    assert str(workdir.trial(rows[1]["trial"]).path / name) in rows[1]["error"]
    assert rows[1]["mult_adds"] == whole[1]["mult_adds"]
    results.write(workdir, rows)
    assert results.read(workdir.results_path) == rows


def test_trials_that_the_last_sweep_did_not_have_stay_in_the_table(tmp_path):
    workdir = finish(tmp_path, [config_of(), config_of({"seed": 1})])
    first, second = workdir.sweep()["trials"].items()
    workdir.set_sweep({"trials": dict([second])})
    assert [row["trial"] for row in results.collect(workdir)] == [second[0], first[0]]
    (workdir.path / "sweep.json").write_text("{")
    assert [row["trial"] for row in results.collect(workdir)] == [first[0], second[0]]


_TRICKY = st.sampled_from(
    ["", "None", "1e5", "0", "true", "null", "NaN", "a,b", 'said "no"', "x\ny", "\r\n", " 5 ", "[1]", '"', "ü", "=1+1"]
)
_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | _TRICKY
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT
_CELLS = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


def identical(a, b):
    """Equal, and of equal types all the way down."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    return type(a) is type(b) and a == b


@given(st.lists(st.fixed_dictionaries({"alpha": _CELLS, "model.x": _CELLS, "data.y": _CELLS}), min_size=1, max_size=4))
def test_a_table_gives_back_what_was_written(tmp_path_factory, cells):
    rows = [dict.fromkeys(results.COLUMNS) | own | {"replicate": "1e5"} for own in cells]
    workdir = Workdir(tmp_path_factory.mktemp("table"))
    results.write(workdir, rows)
    found = results.read(workdir.results_path)
    assert len(found) == len(rows)
    for row, original in zip(found, rows, strict=True):
        assert set(row) == set(original)
        for key, value in original.items():
            assert identical(row[key], value), (key, row[key], value)


@given(_TEXT.filter(bool))
def test_text_columns_keep_their_text(tmp_path_factory, text):
    text = text.replace("\r", "\n")
    row = dict.fromkeys(results.COLUMNS) | {"trial": text, "status": "failed", "error": text}
    workdir = Workdir(tmp_path_factory.mktemp("table"))
    results.write(workdir, [row])
    assert results.read(workdir.results_path) == [row]


def test_cells_are_pleasant_to_read(tmp_path):
    values = (8, 0.1, True, "relu", (0.5, 0.25), "1e5", None)
    row = {f"model.{i}": value for i, value in enumerate(values)}
    workdir = Workdir(tmp_path)
    results.write(workdir, [row])
    assert workdir.results_path.read_text().splitlines()[1] == '8,0.1,true,relu,"[0.5, 0.25]","""1e5""",'


def test_an_error_of_any_length_and_spelling_can_be_read_again(tmp_path):
    workdir = finish(tmp_path, [config_of()])
    (folder,) = [workdir.trial(name) for name in workdir.sweep()["trials"]]
    (folder.path / "result.json").unlink()
    folder.set_status("failed", "x\udcff" * 100_000)
    results.write(workdir, results.collect(workdir))
    (row,) = results.read(workdir.results_path)
    assert row["error"].startswith("x\\udcff")


def test_configs_are_read_as_they_are_written(tmp_path):
    """Tuples come back as tuples: `config.json` has lists."""
    configs = [config_of({"data.mean": mean}) for mean in ((0.5,), (0.25,))]
    workdir = finish(tmp_path, configs)
    path = workdir.trial("trial-00000001").path / "config.json"
    assert json.loads(path.read_text())["data"]["mean"] == [0.25]
    assert [row["data.mean"] for row in results.collect(workdir)] == [(0.5,), (0.25,)]
