import pathlib

import pytest

from mnet_jax.cost import published

PAGE = pathlib.Path(__file__).parents[2] / "experiments" / "published_costs" / "README.md"

OURS = [row for row in published.rows() if "model" in row]


@pytest.mark.parametrize("row", OURS, ids=lambda row: f"{row['table']}: {row['row']}")
def test_every_published_row_to_the_unit(row):
    counted = published.exact(row)
    expected = {name: row[name] for name in ("mult_adds", "params", "weights") if name in row}
    assert {name: counted[name] for name in expected} == expected


def test_a_row_that_is_not_reproduced_says_why():
    for row in published.rows():
        assert "**no**" not in published._cells(row) or row.get("note"), row
    assert len(OURS) == 16 + 18 + 4 + 36


@pytest.mark.parametrize(
    ("printed", "exact", "expected"),
    [
        ("569", 568_740_352, True),
        ("300", 300_774_272, True),
        ("301", 300_774_272, True),
        ("302", 300_774_272, False),
        ("2.36", 2_359_296, True),
        ("29.3", 29_281_120, True),
        ("94.86%", 94.8572, True),
        ("1.19%", 1.9056, False),
    ],
)
def test_a_printed_figure_follows_when_it_is_rounded_or_cut_off(printed, exact, expected):
    assert published.follows(printed, exact) is expected


def test_the_page_is_what_the_command_writes():
    hint = "run `python -m mnet_jax.cost.published > experiments/published_costs/README.md`"
    assert PAGE.read_text() == published.as_markdown(), hint
