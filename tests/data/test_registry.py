"""Names of data sets: which are taken, and which are not known."""

import functools

import pytest

from mnet_jax.data import registry, sources
from mnet_jax.data.facts import facts
from mnet_jax.errors import UserError
from tests.data.small_sets import digits


def test_without_a_copy_an_unregistered_name_is_refused(own):
    with pytest.raises(UserError, match=r"data.name='mnist5kk': did you mean mnist5k\? \(known: mnist5k, "):
        facts(own("mnist5kk"))
    with pytest.raises(
        UserError, match=r"data set mine is not registered here, and .*/arrays/mine/0123/.* is not prep"
    ):
        sources.prepare(own("mine", fingerprint="0123"))
    with pytest.raises(
        UserError, match=r"a.py:Flowers is not registered here, and .*prepared/flowers/1.0.0 is not prep"
    ):
        sources.prepare(own("a.py:Flowers", fingerprint="flowers/1.0.0"))


def test_a_definition_that_is_executed_again_takes_its_own_place_and_another_is_refused():
    source = "def mine(): return {}"
    one, again, elsewhere = {}, {}, {}
    exec(compile(source, "config.py", "exec"), one)
    exec(compile(f"\n\n{source}", "config.py", "exec"), again)
    exec(compile(source, "other.py", "exec"), elsewhere)
    registry.register_dataset("mine", one["mine"])
    registry.register_dataset("mine", one["mine"])
    registry.register_dataset("mine", again["mine"])
    assert registry.function("mine") is again["mine"]
    for other in (elsewhere["mine"], lambda: {0: 0}, dict):
        with pytest.raises(UserError, match="there is another data set 'mine'"):
            registry.register_dataset("mine", other)
    registry.register_dataset("theirs", dict)
    with pytest.raises(UserError, match="there is another data set 'theirs'"):
        registry.register_dataset("theirs", list)


def test_names_and_functions_that_are_none_are_refused():
    for name in ("", "a/b", "a:b", ".hidden", "a b", None):
        with pytest.raises(UserError, match="is no name"):
            registry.register_dataset(name, dict)
    for name in registry.BUILT_IN:
        with pytest.raises(UserError, match="another data set"):
            registry.register_dataset(name, dict)
    with pytest.raises(UserError, match="is no function"):
        registry.register_dataset("mine", {})


def test_every_built_in_name_has_a_builder():
    assert {*sources.SOURCES, *registry.FOLDERS} == set(registry.BUILT_IN) == set(registry.known())


class Maker:
    def __call__(self):
        return {"train": digits(), "test": digits(3)}


@pytest.mark.parametrize(
    "function", [functools.partial(lambda count: {"train": digits(), "test": digits(count)}, 3), Maker()]
)
def test_what_can_be_called_is_a_function(own, function):
    registry.register_dataset("mine", function)
    registry.register_dataset("mine", function)
    assert facts(own("mine", crop="none")).num_classes == 3
