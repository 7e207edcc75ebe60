"""The cost of a config's network, layer by layer; `layers` says what is counted.

python -m mnet_jax.cost --config configs/width.py:imagenet [--config.field=value ...] [--json]
"""

import json

from absl import flags

from mnet_jax import cli
from mnet_jax.cost.layers import Cost, as_dict, count_network
from mnet_jax.report.tables import table
from mnet_jax.train.inputs import settle


def as_table(cost: Cost) -> str:
    """One line per layer; then one per kind, with its share; then the activations."""
    header = ("layer", "kind", "input", "output", "Mult-Adds", "params")
    rows = []
    for layer in cost.layers:
        shapes = ("x".join(map(str, shape)) for shape in (layer.input_shape, layer.output_shape))
        rows.append((layer.name, layer.kind, *shapes, f"{layer.mult_adds:,}", f"{layer.params:,}"))
    layers = table(header, rows, numeric=(False, False, False, False, True, True))
    header = ("kind", "Mult-Adds", "share", "params", "weights", "share")
    rows = [
        (
            kind,
            f"{part.mult_adds:,}",
            _percent(part.mult_adds, cost.mult_adds),
            f"{part.params:,}",
            f"{part.weights:,}",
            _percent(part.weights, cost.weights),
        )
        for kind, part in [*cost.by_kind().items(), ("total", cost)]
    ]
    kinds = table(header, rows, numeric=(False, True, True, True, True, True))
    largest = cost.largest_activation()
    activations = (
        f"activations of one example: {cost.activation_bytes:,} bytes in all; "
        f"the largest is {largest.activation_bytes:,} bytes ({largest.name}); "
        f"input and output of a layer in float32 are {cost.peak_activation_bytes:,} bytes at most"
    )
    return "\n\n".join((layers, kinds, activations))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "-"


def main(file) -> int:
    cost = count_network(settle(file.config))
    print(json.dumps(as_dict(cost)) if flags.FLAGS.json else as_table(cost))
    return 0


if __name__ == "__main__":
    flags.DEFINE_bool("json", False, "Print one JSON object.")
    cli.run(main, description=__doc__)
