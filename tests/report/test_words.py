"""What settings are called: short, and never two of them the same."""

from hypothesis import given
from hypothesis import strategies as st

from mnet_jax.report.points import points
from mnet_jax.report.words import Words, names, writable
from tests.report.rows import product


def said(column, values):
    words = Words(points(product(**{column: values})))
    return [words.value(column, value) for value in values]


def test_columns_are_called_by_the_last_part_of_their_key_where_that_is_clear():
    found = names(["alpha", "optim.learning_rate", "optim.name", "data.seed", "model.seed"])
    assert list(found.values()) == ["alpha", "learning rate", "optim name", "data seed", "model seed"]


def test_of_a_path_or_a_network_in_a_file_as_much_is_said_as_no_other_has():
    assert said("train.init_from", ["/long/way/a.h5", "/long/way/b.h5"]) == ["a.h5", "b.h5"]
    assert said("train.init_from", ["/x/1/w.h5", "/x/2/w.h5", "w.h5"]) == ["1/w.h5", "2/w.h5", "w.h5"]
    assert said("model", ["/x/nets.py:Net", "mobilenet_v1"]) == ["Net", "mobilenet_v1"]
    assert said("model", ["/x/nets.py:Net", "/y/nets.py:Net", "a.b:Net"]) == [
        "x/nets.py:Net",
        "y/nets.py:Net",
        "a.b:Net",
    ]
    assert said("dataset", ["imagenet2012:5.1.0", "/x/mine.py:Birds"]) == ["imagenet2012:5.1.0", "Birds"]


def test_numbers_are_short_where_that_is_exact():
    assert said("optim.learning_rate", [0.1, 1e-5, 0.123456789, 2.0]) == ["0.1", "1e-05", "0.123456789", "2"]


def test_what_cannot_be_seen_or_is_not_in_the_font_is_escaped():
    assert [writable(text) for text in ("größe_β²", "$x$", "a\nb", "", " a", "模")] == [
        "größe_β²",
        "$x$",
        "a\\nb",
        "''",
        "' a'",
        "\\u6a21",
    ]


@given(st.lists(st.text(max_size=8) | st.text(alphabet="ab/:.", max_size=6), min_size=1, max_size=8, unique=True))
def test_no_two_values_are_said_the_same(values):
    for column in ("model", "model.act", "dataset"):
        assert len(set(said(column, values))) == len(values)
