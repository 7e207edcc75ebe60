"""`python -m mnet_jax.latency`: each distinct network once per machine, and medians in the table."""

import csv
import json

import pytest

from mnet_jax.errors import UserError
from mnet_jax.workdir import results
from mnet_jax.workdir.deployment import network_key
from mnet_jax.workdir.files import Workdir
from tests.trials import folder_of

pytest.importorskip("onnxruntime", reason="mnet_jax[export] is not installed")
from mnet_jax import latency

COLUMNS = ("latency_ms_jax_float32", "latency_ms_onnx_float32", "latency_ms_onnx_int8")


@pytest.fixture
def work(tmp_path, small):
    """Two seeds of one network, and the same network on smaller images; none is trained."""
    trials = {"a": {}, "b": {"seed": 1}, "c": {"input_size": 12}}
    for name, overrides in trials.items():
        folder_of(tmp_path / "work" / "trials" / name, small, **overrides)
    return Workdir(tmp_path / "work")


def test_trials_of_one_network_share_it(work):
    networks = latency.networks_of(work)
    assert [(network.trials, network.image_shape) for network in networks] == [
        (["a", "b"], (16, 16, 1)),
        (["c"], (12, 12, 1)),
    ]


def test_every_backend_takes_its_turns(work):
    entries = latency.measure(latency.networks_of(work), batch=3, threads=1, runs=12)
    assert [(entry["backend"], entry["precision"]) for entry in entries] == 2 * list(latency.BACKENDS)
    for entry in entries:
        assert entry["runs"] == 15  # whole turns
        assert 0 < entry["q1_ms"] <= entry["median_ms"] <= entry["q3_ms"]


@pytest.mark.slow
def test_a_machine_measures_a_network_once(work, small, command):
    def run(*flags):
        done = command("mnet_jax.latency", "--workdir", work.path, "--runs", 5, *flags)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "2 of 2 networks measured now" in run()
    first = work.latencies()
    assert len(first) == 6
    assert {entry["machine"]["threads"] for entry in first} == {1}
    assert "0 of 2 networks measured now" in run()
    assert work.latencies() == first
    folder_of(work.path / "trials" / "d", small, input_size=10)
    assert "1 of 3 networks measured now" in run()
    assert {entry["network"] for entry in work.latencies()[6:]} == {network_key(work.trial("d").config())}
    folder_of(work.path / "trials" / "e", small, input_size=10, seed=1)
    assert "0 of 3 networks measured now" in run()
    run("--batch", 2)
    with work.results_path.open() as file:
        rows = {row["trial"]: row for row in csv.DictReader(file)}
    for column in (*COLUMNS, *(f"{column}_batch2" for column in COLUMNS)):
        assert rows["a"][column] == rows["b"][column] != rows["d"][column]
        assert rows["d"][column] == rows["e"][column]
        assert float(rows["c"][column]) > 0


def test_the_table_has_the_machine_that_was_measured_last(work):
    def entry(machine, at, **more):
        return {
            "network": network_key(work.trial("a").config()), "backend": "jax", "precision": "float32", "batch": 1,
            "median_ms": at, "machine": machine, "measured_at": at,
        } | more  # fmt: skip

    work.add_latencies(
        [
            entry("new", 3.0),
            entry("old", 1.0),
            entry("new", 2.5, batch=4, network=network_key(work.trial("c").config())),
        ]
    )
    rows = {row["trial"]: row for row in results.collect(work)}
    assert [rows[name]["latency_ms_jax_float32"] for name in "abc"] == [3.0, 3.0, None]
    assert [rows[name]["latency_ms_jax_float32_batch4"] for name in "abc"] == [None, None, 2.5]
    assert list(rows["a"])[-3:] == ["latency_ms_jax_float32", "latency_ms_jax_float32_batch4", "replicate"]


def test_a_damaged_file_loses_the_columns_alone(work):
    work.add_latencies([])
    path = work.path / "latency.json"
    path.write_text(path.read_text()[:-4])
    assert not any(column.startswith("latency") for row in results.collect(work) for column in row)


def test_exports_are_columns(work):
    work.trial("a").add_export("onnx", {"bytes": 10, "top1": 0.5})
    work.trial("b").set_result({"top1": 0.5, "steps": 12})
    work.trial("b").add_export("int8.onnx", {"bytes": 3, "top1": 0.4, "step": 12})
    work.trial("b").add_export("onnx", {"bytes": 9, "top1": 0.5, "step": 8})  # of an earlier checkpoint
    rows = {row["trial"]: row for row in results.collect(work)}
    columns = ("top1_int8", "bytes_float32", "bytes_int8")
    assert [[rows[name][column] for column in columns] for name in "abc"] == [
        [None, 10, None],
        [0.4, None, 3],
        [None] * 3,
    ]
    assert json.loads((work.path / "trials" / "b" / "export" / "export.json").read_text())["int8.onnx"]["bytes"] == 3


def test_more_threads_than_cpus_are_refused():
    with pytest.raises(UserError, match=r"--threads=100000: this process may use \d+ CPUs"):
        latency._restrict(100_000)


def test_a_workdir_without_trials_is_refused(tmp_path):
    with pytest.raises(UserError, match="no sweep was started there"):
        latency.networks_of(Workdir(tmp_path))
