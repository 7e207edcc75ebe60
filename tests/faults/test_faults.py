"""Whatever happens to a sweep, the same command again ends with the table of the one that nothing happened to.

Three kinds of faults, of those that `tests/sweep` does not have; the exhaustive tests are of every other kind, and
`python -m tests.faults` tries a hundred of all.
"""

import os

import pytest

from tests.faults.inflict import KINDS, inflict, uninterrupted

_QUICK = (4, 6, 8)  # of `KINDS`


@pytest.fixture(scope="module")
def environment(data_dir, compilation_cache):
    return os.environ | {"TINY_DATA_DIR": data_dir, "JAX_COMPILATION_CACHE_DIR": compilation_cache}


@pytest.fixture(scope="module")
def expected(environment, tmp_path_factory):
    return uninterrupted(environment, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed",
    [pytest.param(i, marks=[] if i in _QUICK else [pytest.mark.exhaustive]) for i in range(0, len(KINDS), 2)],
)
def test_the_same_command_again_ends_as_if_nothing_had_happened(seed, expected, environment, tmp_path):
    outcome = inflict(seed, environment, tmp_path)
    assert outcome.has_hit, f"{outcome.what}: the sweep had ended before\n{outcome.output}"
    assert outcome.codes[1] == 0, f"{outcome.what}\n{outcome.output}"
    assert outcome.table.items() >= expected.items(), f"{outcome.what}\n{outcome.output}"
