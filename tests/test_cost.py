import json

import flax.linen as nn
import pytest
from ml_collections import ConfigDict

from mnet_jax import cost, models, report

PUBLISHED = [(name, row) for name, rows in json.loads(report.PUBLISHED.read_text()).items() for row in rows]


@pytest.mark.parametrize(
    ("name", "row"), PUBLISHED, ids=lambda v: v if isinstance(v, str) else f"{v['alpha']}@{v['input_size']}"
)
def test_every_published_cell_to_the_unit(name, row):
    model = models.build(ConfigDict({"name": name, "alpha": row["alpha"], "num_classes": 1000, "dtype": "float32"}))
    counted = cost.count(model, (row["input_size"], row["input_size"], 3))
    assert (counted.mult_adds, counted.params) == (row["mult_adds"], row["params"])
    assert sum(layer.params for layer in counted.layers) == counted.params


def test_the_papers_headline_network():
    model = models.build(ConfigDict({"name": "mobilenet_v1", "alpha": 1.0, "num_classes": 1000, "dtype": "float32"}))
    counted = cost.count(model, (224, 224, 3))
    assert (counted.mult_adds, counted.params) == (568_740_352, 4_231_976)


def test_convolutions_of_every_kind():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x_BxHxWxC):
            x = nn.Conv(8, (3, 3), strides=2, feature_group_count=2, name="grouped")(x_BxHxWxC)
            x = nn.Conv(6, (3, 3), kernel_dilation=2, name="dilated")(x)
            x = nn.ConvTranspose(5, (2, 2), strides=(2, 2), name="transposed")(x)
            x = x.mean((1, 2))
            x = nn.Dense(7, name="dense")(x)
            return nn.DenseGeneral((2, 3), name="general")(x)

    counted = cost.count(Net(), (10, 8, 4))
    expected = {
        "grouped": 5 * 4 * 9 * 2 * 8,
        "dilated": 5 * 4 * 9 * 8 * 6,
        "transposed": 5 * 4 * 4 * 6 * 5,
        "dense": 5 * 7,
        "general": 7 * 6,
    }
    assert {layer.name: layer.mult_adds for layer in counted.layers} == expected
    assert counted.mult_adds == sum(expected.values())


def test_a_layer_that_is_called_twice_adds_its_parameters_once():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(4)
            return dense(dense(x))

    counted = cost.count(Twice(), (4,))
    assert (counted.mult_adds, counted.params) == (2 * 16, 20)


def test_a_matrix_that_no_rule_covers_is_warned_of():
    class Own(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x @ self.param("weights", nn.initializers.ones, (x.shape[-1], 3))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Own(name="mine")(x)

    with pytest.warns(UserWarning, match="mine"):
        counted = cost.count(Net(), (5,))
    assert counted.params == 15


def test_the_command_prints_one_json_object(command):
    done = command("mnet_jax.cost", "--config", "configs/width.py:imagenet", "--config.model.alpha=0.5", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["mult_adds"], printed["params"]) == (149_497_088, 1_331_592)
    assert set(printed["layers"][0]) == {"name", "kind", "input_shape", "output_shape", "mult_adds", "params"}
    assert sum(layer["mult_adds"] for layer in printed["layers"]) == printed["mult_adds"]


def test_counting_runs_no_arithmetic():
    class Exploding(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(10**9)(x)  # 4 TB of weights, were they made

    assert cost.count(Exploding(), (1000,)).mult_adds == 10**12
