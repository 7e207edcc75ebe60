import itertools

import pytest

from mnet_jax.config.resolve import resolve
from mnet_jax.sweep import plan


@pytest.fixture
def trials(tiny):
    """Two alphas x two input sizes x three seeds, by a readable name."""
    axes = {"model.alpha": (1.0, 0.25), "input_size": (16, 12), "seed": (0, 1, 2)}
    overrides = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return {"-".join(map(str, o.values())): resolve(tiny, o) for o in overrides}


def names(groups):
    return [set(group.trials) for group in groups]


def test_a_grid_shares_one_stream(trials):
    (group,) = plan.groups(trials, most=16, places=1)
    assert group.trials == tuple(trials)


@pytest.mark.parametrize(
    ("key", "value", "is_shared"),
    [
        ("seed", 5, True),
        ("model.name", "mobilenet_v2", True),
        ("optim.learning_rate", 0.5, True),
        ("data.flip", True, True),
        ("data.seed", 5, False),
        ("data.train_split", "train[:128]", False),
        ("data.crop", "none", False),
        ("train.batch_size", 8, False),
        ("train.epochs", 1.0, False),
    ],
)
def test_only_what_changes_the_batches_parts_trials(tiny, key, value, is_shared):
    pair = {"a": resolve(tiny), "b": resolve(tiny, {key: value})}
    assert len(plan.groups(pair, most=16, places=1)) == (1 if is_shared else 2)


@pytest.mark.parametrize("most", [1, 5, 12])
def test_a_group_is_bounded_and_every_trial_is_in_one(trials, most):
    groups = plan.groups(trials, most, places=1)
    assert max(len(group.trials) for group in groups) <= most
    assert sorted(itertools.chain(*(group.trials for group in groups))) == sorted(trials)
    assert [group.cost for group in groups] == sorted((group.cost for group in groups), reverse=True)


def test_one_stream_is_divided_among_several_places_at_equal_cost(trials):
    groups = plan.groups(trials, most=16, places=3)
    assert len(groups) == 3
    costs = [group.cost for group in groups]
    assert max(costs) < 1.2 * min(costs)


def test_the_largest_group_left_goes_where_least_was_run():
    groups = [plan.Group((name,), cost) for name, cost in (("a", 7.0), ("b", 5.0), ("c", 4.0), ("d", 2.0))]
    assert [names(part) for part in plan.assign(groups, 2)] == [[{"a"}, {"d"}], [{"b"}, {"c"}]]


def test_vmapped_replicates_stay_together(tiny, trials):
    vmapped = {name: resolve(config, {"train.vmap_replicates": True}) for name, config in trials.items()}
    for group in plan.groups(vmapped, most=4, places=1):
        assert {name.rpartition("-")[2] for name in group.trials} == {"0", "1", "2"}
        assert len(group.trials) == 3


def test_alpha_and_input_size_decide_the_predicted_cost(trials):
    costs = {name: plan.predicted_cost(config) for name, config in trials.items()}
    assert costs["1.0-16-0"] == costs["1.0-16-2"]
    assert costs["1.0-16-0"] > costs["1.0-12-0"] > costs["0.25-12-0"]
    assert costs["1.0-16-0"] > 3 * costs["0.25-16-0"]


def test_a_part_gets_the_largest_cost_that_is_left_where_it_costs_least():
    costs = {i: float(7 * i % 11) for i in range(30)}
    found = [[] for _ in range(4)]
    for key in sorted(costs, key=costs.get, reverse=True):
        open_parts = [part for part in found if len(part) < 8]
        min(open_parts, key=lambda part: sum(map(costs.get, part))).append(key)
    assert plan._spread(costs, 4, 8) == [sorted(part) for part in found]
