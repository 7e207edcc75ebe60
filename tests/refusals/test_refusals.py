"""Every bad input is refused as `docs/refusals.md` says: in one line, before anything is made."""

import collections

import pytest

from tests.conftest import REPOSITORY
from tests.refusals import table
from tests.refusals.run import alone, copies

_MOST_PER_CHECK = 3  # inputs that one check may stand for


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))
        with copies() as run:
            yield run


@pytest.mark.slow
def test_every_bad_input_is_refused_as_the_table_says(run):
    messages = [table.message(run(case)) for case in table.cases()]
    assert table.as_markdown(messages) == (REPOSITORY / "docs" / "refusals.md").read_text()
    inputs = collections.Counter(map(table.check_of, messages))
    assert len(messages) >= 120
    assert len(inputs) >= 60
    assert {check: count for check, count in inputs.items() if count > _MOST_PER_CHECK} == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", ["alpha of thousands", "a flag of another command", "weights without a config", "no --workdir"]
)
def test_a_process_of_its_own_says_the_same(what, run):
    (case,) = (case for case in table.cases() if case.what == what)
    assert table.message(alone(case)) == table.message(run(case))
