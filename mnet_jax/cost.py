"""Mult-Adds and parameters of any Linen module, layer by layer, from one abstract evaluation.

Counted: the multiply-adds of convolutions (grouped and dilated ones too), transposed convolutions and dense layers, for
one example, every tap of the kernel at every output position (also the taps that fall on padding, as the papers count).
Not counted: bias, normalisation, activation, pooling, residual additions. Parameters are the trainable ones.

    python -m mnet_jax.cost --config configs/width.py:imagenet [--config.field=value ...] [--json]
"""

import dataclasses
import json
import math
import warnings
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import flags
from flax import traverse_util

from mnet_jax import cli, models, tables
from mnet_jax import config as config_lib

_NOT_MATRICES = (nn.BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm, nn.Embed, nn.PReLU)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One module that owns parameters; the shapes leave out the batch axis."""

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    mult_adds: int
    params: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """Totals for one example, and the layers they come from, in the order of the calls."""

    mult_adds: int
    params: int
    layers: tuple[Layer, ...]


def count(module: nn.Module, input_shape: Sequence[int], **call_arguments) -> Cost:
    """Counts `module` applied to one example; no arithmetic is run.

    Args:
      module: any Linen module whose first argument is a batch of examples.
      input_shape: shape of one example, without the batch axis.
      **call_arguments: further arguments of the module's `__call__`.

    Returns:
      The cost. A layer that is called again adds Mult-Adds, not parameters.

    Warns:
      UserWarning: a module owns a matrix whose arithmetic is not counted; the warning names it.
    """
    layers: list[Layer] = []
    seen: set[tuple[str, ...]] = set()

    def record(call, args, kwargs, context):
        output = call(*args, **kwargs)
        layer = context.module
        owned = _owned_params(layer) if context.method_name == "__call__" else {}
        if owned and args and hasattr(output, "shape"):
            layers.append(_layer(layer, owned, args[0], output, first_call=layer.path not in seen))
            seen.add(layer.path)
        return output

    x = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    with nn.intercept_methods(record):
        variables = jax.eval_shape(lambda key, x: module.init(key, x, **call_arguments), key, x)
    _warn_of_unseen(variables.get("params", {}), seen)
    params = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables.get("params", {})))
    return Cost(sum(layer.mult_adds for layer in layers), params, tuple(layers))


def of_config(config) -> Cost:
    """The cost of one image through the network that a config describes."""
    return count(models.build(config.model), (config.input_size, config.input_size, config.data.channels))


def _owned_params(module: nn.Module) -> dict:
    params = module.variables.get("params", {})
    return {name: value for name, value in params.items() if not isinstance(value, Mapping)}


def _layer(module, owned, x, output, first_call) -> Layer:
    kind, mult_adds = _kind_and_mult_adds(module, owned, x, output)
    params = sum(math.prod(value.shape) for value in owned.values())
    return Layer("/".join(module.path), kind, x.shape[1:], output.shape[1:], mult_adds, params if first_call else 0)


def _kind_and_mult_adds(module, owned, x, output) -> tuple[str, int]:
    """Every kernel element is used once for each position: of the input if transposed, else of the output."""
    kernel = owned.get("kernel")
    match module:
        case nn.Conv():
            depthwise = module.feature_group_count > 1 and kernel.shape[-2] == 1
            return "depthwise_conv" if depthwise else "conv", output.size // kernel.shape[-1] * kernel.size
        case nn.ConvTranspose():
            return "conv_transpose", x.size // kernel.shape[-1 if module.transpose_kernel else -2] * kernel.size
        case nn.Dense():
            return "dense", output.size // kernel.shape[-1] * kernel.size
        case nn.DenseGeneral() if not module.batch_dims:
            features = math.prod(module.features) if isinstance(module.features, Sequence) else module.features
            return "dense", output.size // features * kernel.size
        case nn.BatchNorm():
            return "batch_norm", 0
    if not isinstance(module, _NOT_MATRICES) and any(value.ndim > 1 for value in owned.values()):
        _warn(f"{'/'.join(module.path)} ({type(module).__name__})")
    return type(module).__name__, 0


def _warn_of_unseen(params, seen) -> None:
    for path, value in traverse_util.flatten_dict(params).items():
        if path[:-1] not in seen and value.ndim > 1:
            _warn("/".join(path))


def _warn(name: str) -> None:
    warnings.warn(f"the Mult-Adds of {name} are not counted: it is no convolution or dense layer", stacklevel=3)


def as_table(cost: Cost) -> str:
    """One line per layer, then the totals."""
    rows = []
    for layer in cost.layers:
        shapes = ("x".join(map(str, shape)) for shape in (layer.input_shape, layer.output_shape))
        rows.append((layer.name, layer.kind, *shapes, f"{layer.mult_adds:,}", f"{layer.params:,}"))
    rows.append(("total", "", "", "", f"{cost.mult_adds:,}", f"{cost.params:,}"))
    header = ("layer", "kind", "input", "output", "Mult-Adds", "params")
    return tables.aligned(header, rows, numeric=(False, False, False, False, True, True))


def main(config) -> int:
    cost = of_config(config_lib.resolve(config))
    print(json.dumps(dataclasses.asdict(cost)) if flags.FLAGS.json else as_table(cost))
    return 0


if __name__ == "__main__":
    flags.DEFINE_bool("json", False, "Print one JSON object.")
    cli.run(main)
