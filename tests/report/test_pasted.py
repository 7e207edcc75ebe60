"""The table of means in forms to paste: each reads back as what was reported."""

import csv
import io
import json
import re
import statistics

import pytest

from mnet_jax import presets
from mnet_jax.config.resolve import resolve
from mnet_jax.report import __main__ as report
from mnet_jax.report import pasted
from tests.finished import finish


@pytest.fixture
def workdir(tmp_path):
    """Two alphas with two seeds each."""
    configs = [
        resolve(presets.get("mnist5k"), {"model.alpha": alpha, "seed": seed}).to_dict()
        for alpha in (1.0, 0.5)
        for seed in (0, 1)
    ]
    return finish(tmp_path / "work", configs, cost=lambda i: 1000 * (i // 2 + 1))


@pytest.fixture
def printed(workdir, capsys):
    def run(form):
        before = {path: path.stat().st_mtime_ns for path in workdir.path.rglob("*")}
        assert report.main(["--workdir", str(workdir.path), form]) == 0
        assert {path: path.stat().st_mtime_ns for path in workdir.path.rglob("*")} == before
        return capsys.readouterr().out

    return run


def test_json_has_means_errors_and_counts(printed):
    rows = json.loads(printed("--json"))
    assert [row["alpha"] for row in rows] == [1.0, 0.5]
    assert [row["n"] for row in rows] == [2, 2]
    assert [row["top1"] for row in rows] == pytest.approx([0.505, 0.525])
    assert [row["mult_adds"] for row in rows] == [1000, 2000]
    assert rows[0]["se"] == pytest.approx(statistics.stdev([0.50, 0.51]) / 2**0.5)


def test_csv_has_the_same(printed):
    rows, expected = list(csv.DictReader(io.StringIO(printed("--csv")))), json.loads(printed("--json"))
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row == {key: "" if value is None else str(value) for key, value in other.items()}


def test_markdown_is_a_table(printed):
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in printed("--markdown").splitlines()]
    expected = json.loads(printed("--json"))
    assert lines[0] == list(expected[0])
    assert {len(line) for line in lines} == {len(lines[0])}
    assert all(re.fullmatch("---:?", cell) for cell in lines[1])
    assert [line[lines[0].index("top1")] for line in lines[2:]] == ["0.5050", "0.5250"]


def test_latex_is_a_tabular_of_booktabs(printed):
    begin, *lines, end = printed("--latex").splitlines()
    columns = re.fullmatch(r"\\begin\{tabular\}\{([lr]+)\}", begin).group(1)
    assert end == r"\end{tabular}"
    assert [lines[i] for i in (0, 2, -1)] == [r"\toprule", r"\midrule", r"\bottomrule"]
    cells = [line.removesuffix(r" \\").split(" & ") for line in (lines[1], *lines[3:-1])]
    assert {len(line) for line in cells} == {len(columns)}
    assert cells[0][:3] == ["model", "alpha", r"input\_size"]
    assert cells[1][0] == r"mobilenet\_v1"


def test_what_has_a_meaning_in_a_form_is_escaped():
    rows = [{"model": 'a_b|c&50%,"{x}"\\', "top1": 0.5, "se": None}]
    assert next(csv.DictReader(io.StringIO(pasted.as_csv(rows))))["model"] == rows[0]["model"]
    assert json.loads(pasted.as_json(rows)) == rows
    assert pasted.as_markdown(rows).splitlines()[2] == 'a_b\\|c&50%,"{x}"\\'.join(["| ", " | 0.5000 | - |"])
    assert pasted.as_latex(rows).splitlines()[4] == (r'a\_b|c\&50\%,"\{x\}"\textbackslash{} & 0.5000 & - \\')


@pytest.mark.parametrize("form", pasted.FORMS)
def test_a_sweep_without_results_has_a_header(form):
    assert "top1" in pasted.FORMS[form]([]) or form == "json"


def test_published_grids_and_several_workdirs_need_no_output(workdir, capsys):
    assert report.main(["--published", "mobilenet_v1", "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 17
    assert report.main(["--workdir", str(workdir.path), "--workdir", str(workdir.path), "--csv"]) == 0


@pytest.mark.parametrize("flags", [["--json"], ["--output", "x"], ["--predict", "alpha=1"], ["--budget", "1M"]])
def test_what_has_no_effect_beside_a_form_is_refused(flags, workdir, capsys):
    with pytest.raises(SystemExit) as error:
        report.main(["--workdir", str(workdir.path), "--csv", *flags])
    assert error.value.code == 2
    assert re.search("not allowed with|no effect beside --csv", capsys.readouterr().err)
