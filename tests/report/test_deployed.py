"""Columns of exports and latencies in the report: nothing else changes, int8 is compared with its own float32."""

import copy

import pytest

from mnet_jax.report import latencies, plots, quantized
from mnet_jax.report.points import points, settings_columns
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir
from tests.report.rows import row_of


@pytest.fixture
def rows():
    found = []
    for alpha, mult_adds in ((1.0, 1000), (0.5, 300), (0.25, 100)):
        for seed, lost in enumerate((0.01, 0.02, 0.03)):
            one = row_of(alpha=alpha, seed=seed) | {"mult_adds": mult_adds, "top1": 0.9 * alpha**0.1}
            found.append(
                one
                | {"top1_int8": one["top1"] - lost, "bytes_float32": 40, "bytes_int8": 10}
                | {"latency_ms_jax_float32": mult_adds / 100, "latency_ms_onnx_int8": 1 / mult_adds}
            )
    return found


def test_what_was_measured_is_no_setting(rows):
    plain = [
        {key: value for key, value in one.items() if not key.startswith(("top1_", "bytes_", "lat"))} for one in rows
    ]
    assert settings_columns(rows) == settings_columns(plain)
    assert [(p.mean, p.error) for p in points(rows)] == [(p.mean, p.error) for p in points(plain)]


def test_int8_is_compared_with_its_own_float32(rows):
    twins = quantized.pairs(rows)
    assert [pair.count for pair in twins] == [3, 3, 3]
    assert [pair.point.mean - pair.int8 for pair in twins] == pytest.approx([0.02] * 3)
    assert [pair.error for pair in twins] == pytest.approx([0.01 / 3**0.5] * 3)
    header, first, *_ = quantized.as_text(rows).splitlines()
    assert header.split() == ["alpha", "n", "top1", "top1_int8", "points", "se"]
    assert first.split() == ["1.0", "3", "0.9000", "0.8800", "-2.00", "0.58"]


def test_replicates_that_were_not_all_exported_are_left_out(rows):
    rows[0]["top1_int8"] = None
    assert len(quantized.pairs(rows)) == 2
    assert quantized.as_text([one | {"top1_int8": None} for one in rows]) == ""


def test_rank_correlations_are_of_distinct_networks(rows):
    text = latencies.as_text(rows)
    assert "latency_ms_jax_float32: Spearman's rank correlation 1.000, 3 networks" in text
    assert "latency_ms_onnx_int8: Spearman's rank correlation -1.000, 3 networks" in text
    assert latencies.as_text(rows[:6]) == ""


def test_plots_of_what_was_measured_are_drawn(rows, tmp_path):
    workdir = Workdir(tmp_path)
    results.write(workdir, rows)
    names = {path.rpartition("/")[2] for path in plots.draw(workdir)}
    usual = {"accuracy_vs_mult_adds.png", "accuracy_vs_params.png"}
    assert names == usual | {"accuracy_vs_latency_ms_jax_float32.png", "int8.png"}
    for one in (copied := copy.deepcopy(rows)):
        for column in ("top1_int8", "latency_ms_jax_float32", "latency_ms_onnx_int8"):
            del one[column]
    results.write(workdir, copied)
    assert {path.rpartition("/")[2] for path in plots.draw(workdir)} == usual
