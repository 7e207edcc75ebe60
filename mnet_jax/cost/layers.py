"""Mult-Adds, parameters and activations of any Linen module, layer by layer, from one abstract evaluation.

What is counted, for one example:
  Mult-Adds: the multiply-adds of convolutions (grouped, dilated and transposed ones too, of any rank) and of matrix
    products (dense layers, attention, `einsum`, `dot`, `@`), every tap of a kernel at every output position, also the
    taps that fall on padding, as the papers count. Not counted: bias, normalisation, activation, pooling, elementwise
    products, residual additions, interpolation by `Upsampling`. `jaxpr` says how they are found, and what leads to a
    warning.
  Parameters: the trainable ones, scale and bias of normalisation included. Weights: those with two axes or more, the
    kernels; what the papers print.
  Activation bytes: the outputs of the layers that have Mult-Adds, in the dtype in which the layer returns them.
"""

import dataclasses
import functools
import math
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from mnet_jax.config.passes import passes_of
from mnet_jax.cost import jaxpr
from mnet_jax.errors import UserError, explained
from mnet_jax.models import registry
from mnet_jax.models.deeplab import Upsampling

_FLOAT_BYTES = 4

_NORMALISATIONS = (nn.BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One call of a module that owns parameters or does arithmetic of its own.

    Attributes:
      name: path of the module.
      kind: "conv_KxK", "depthwise_conv_KxK", "conv_transpose_KxK", "dense", "batch_norm", or the module's class;
        "parameter" where no call shows what a parameter is for.
      input_shape, output_shape: without the batch axis.
      mult_adds: of this call.
      params: trainable parameters; 0 where an earlier call had them.
      weights: those of them with two axes or more.
      activation_bytes: of the output; 0 without Mult-Adds.
      dilation: distance between the taps of a convolution's kernel, along its first axis; 1 for everything else.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    mult_adds: int
    params: int
    weights: int
    activation_bytes: int
    dilation: int = 1


@dataclasses.dataclass(frozen=True, repr=False)
class Cost:
    """The layers, in the order of the calls, and their totals for one example."""

    layers: tuple[Layer, ...]

    def __repr__(self) -> str:
        return f"Cost({len(self.layers)} layers, mult_adds={self.mult_adds:,}, params={self.params:,})"

    @property
    def mult_adds(self) -> int:
        return sum(layer.mult_adds for layer in self.layers)

    @property
    def params(self) -> int:
        return sum(layer.params for layer in self.layers)

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def peak_activation_bytes(self) -> int:
        """Largest input and output together of a layer with Mult-Adds, in float32: what an inference holds at least."""
        sizes = (
            math.prod(layer.input_shape) + math.prod(layer.output_shape) for layer in self.layers if layer.mult_adds
        )
        return _FLOAT_BYTES * max(sizes, default=0)

    def largest_activation(self) -> Layer:
        return max(self.layers, key=lambda layer: layer.activation_bytes)

    def by_kind(self) -> dict[str, "Cost"]:
        """The layers of each kind, in the order of their first call."""
        kinds = dict.fromkeys(layer.kind for layer in self.layers)
        return {kind: Cost(tuple(layer for layer in self.layers if layer.kind == kind)) for kind in kinds}


@dataclasses.dataclass
class _Call:
    module: nn.Module
    input_shape: tuple[int, ...]
    output: Any = None


def count(module: nn.Module, input_shape: Sequence[int], dtype: Any = jnp.float32, **call_arguments) -> Cost:
    """Counts `module` applied to one example; no arithmetic is run.

    Args:
      module: any Linen module whose first argument is a batch of examples.
      input_shape: shape of one example, without the batch axis.
      dtype: of the examples, such as `jnp.int32` for a module that begins with an embedding.
      **call_arguments: further arguments of the module's `__call__`, such as `train=True`.

    Returns:
      The cost of the forward pass. A layer that is called again adds Mult-Adds, not parameters.

    Raises:
      UserError: the shape is not that of an image, for a network of ours.

    Warns:
      UserWarning: a module does arithmetic that cannot be counted; the warning names it and says why.
    """
    if isinstance(module, tuple(registry.MODELS[name] for name in registry.BUILT_IN)) and len(input_shape) != 3:
        raise UserError(f"input_shape={tuple(input_shape)}: must be (height, width, channels) of one image")
    calls: list[_Call] = []
    open_calls: list[nn.Module] = []

    def record(call, args, kwargs, context):
        own_method = bool(open_calls) and open_calls[-1].path == context.module.path
        if own_method or context.method_name == "setup":
            return call(*args, **kwargs)
        calls.append(_Call(context.module, _shape_of(args)))
        open_calls.append(context.module)
        entry = calls[-1]
        with jax.named_scope(jaxpr.scope_name(len(calls) - 1)):
            try:
                entry.output = _first_array(output := call(*args, **kwargs))
            finally:
                open_calls.pop()
        return output

    def apply(variables, x):
        with nn.intercept_methods(record):
            rngs = {"params": jax.random.key(0)}  # other streams, such as dropout's, fall back to it
            return module.apply(variables, x, rngs=rngs, mutable=nn.DenyList("params"), **call_arguments)

    x = jax.ShapeDtypeStruct((1, *input_shape), dtype)
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, **call_arguments), x)
    program = jax.make_jaxpr(apply)(variables, x)
    found = jaxpr.count_arithmetic(program, [True] * len(jax.tree.leaves(variables)) + [False])
    _warn(found, calls)
    return Cost(tuple(_layers(calls, found, variables.get("params", {}))))


def count_network(config) -> Cost:
    """The cost of the network and input size that a resolved config describes.

    Where an evaluation sees an image several times (`config.passes`), the Mult-Adds are those of all passes. Layers of
    the further ones stand behind those of the first, which is that of a training step, and have no parameters and no
    activation bytes.
    """
    network = registry.build(config.model)
    if path := config.model.get("path"):
        with explained(pathlib.Path(path)):
            return _count_passes(network, config)
    if config.model.name in registry.BUILT_IN:
        network = network.clone(layers="textbook")  # costs the same, and is traced in two thirds of the time
    return _count_passes(network, config)


def _count_passes(network: nn.Module, config) -> Cost:
    sides = [one.side for one in passes_of(config)]
    sides.remove(config.input_size)
    first, *others = (_count_once(network, (side, side, config.data.channels)) for side in (config.input_size, *sides))
    of_others = (
        dataclasses.replace(layer, params=0, weights=0, activation_bytes=0)
        for cost in others
        for layer in cost.layers
        if layer.mult_adds
    )
    return Cost((*first.layers, *of_others))


@functools.cache
def _count_once(network: nn.Module, input_shape: tuple[int, ...]) -> Cost:
    """Replicates have the same cost."""
    return count(network, input_shape, train=False)


def as_dict(cost: Cost) -> dict[str, Any]:
    """The totals, the subtotals by kind, and the layers."""
    columns = ("name", "kind", "input_shape", "output_shape", "mult_adds", "params")
    return _totals(cost) | {
        "activation_bytes": cost.activation_bytes,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "largest_activation_bytes": cost.largest_activation().activation_bytes,
        "kinds": {kind: _totals(part) for kind, part in cost.by_kind().items()},
        "layers": [{column: getattr(layer, column) for column in columns} for layer in cost.layers],
    }


def _totals(cost: Cost) -> dict[str, int]:
    return {"mult_adds": cost.mult_adds, "params": cost.params, "weights": cost.weights}


def _layers(calls: list[_Call], found: jaxpr.Arithmetic, params):
    seen: set[tuple[str, ...]] = set()
    for number, call in enumerate(calls):
        path = call.module.path
        owned = {} if path in seen else _owned(params, path)
        mult_adds = _mult_adds(call, found.mult_adds[number], params)
        if number in found.times and (owned or mult_adds):
            seen.add(path)
            output, times = call.output, found.times[number]
            yield Layer(
                name="/".join(path),
                kind=_kind(call, _owned(params, path)),
                input_shape=call.input_shape,
                output_shape=tuple(output.shape[1:]) if output is not None else (),
                mult_adds=mult_adds,
                params=sum(value.size for value in owned.values()),
                weights=sum(value.size for value in owned.values() if value.ndim > 1),
                activation_bytes=times * output.size * output.dtype.itemsize if mult_adds and output is not None else 0,
                dilation=_dilation(call.module),
            )
    for path, value in traverse_util.flatten_dict(params).items():
        if path[:-1] not in seen:
            weights = value.size if value.ndim > 1 else 0
            yield Layer("/".join(path), "parameter", (), (), 0, value.size, weights, 0)


def _mult_adds(call: _Call, counted: int, params) -> int:
    """What the trace shows; but interpolation is no arithmetic, nor is the convolution that cuts out local patches."""
    if isinstance(call.module, Upsampling):
        return 0
    if isinstance(call.module, nn.ConvLocal) and counted:
        return _owned(params, call.module.path)["kernel"].size  # a kernel of its own for each output position
    return counted


def _dilation(module: nn.Module) -> int:
    """`kernel_dilation` is a number, one for each axis, or None."""
    dilation = getattr(module, "kernel_dilation", None) or 1
    return dilation if isinstance(dilation, int) else dilation[0]


def _owned(params, path: tuple[str, ...]) -> dict[str, Any]:
    """The parameters that the module at `path` itself declared."""
    for name in path:
        params = params.get(name, {})
    return {name: value for name, value in params.items() if not isinstance(value, Mapping)}


def _kind(call: _Call, owned: Mapping[str, Any]) -> str:
    module = call.module
    match module:
        case nn.Conv() | nn.ConvLocal() | nn.ConvTranspose():
            size = module.kernel_size
            kernel = "x".join(map(str, (size,) if isinstance(size, int) else size))
            if isinstance(module, nn.ConvTranspose):
                return f"conv_transpose_{kernel}"
            depthwise = module.feature_group_count > 1 and owned["kernel"].shape[-2] == 1
            return f"{'depthwise_' if depthwise else ''}conv_{kernel}"
        case nn.Dense() | nn.DenseGeneral() | nn.Einsum():
            return "dense"
        case nn.BatchNorm():
            return "batch_norm"
    return type(module).__name__


def _warn(found: jaxpr.Arithmetic, calls: list[_Call]) -> None:
    for number, reasons in found.unseen.items():
        module = calls[number].module
        if not isinstance(module, _NORMALISATIONS):
            name = " ".join(filter(None, ("/".join(module.path), f"({type(module).__name__})")))
            warnings.warn(f"the Mult-Adds of {name} are not all counted: {'; '.join(reasons)}", stacklevel=3)


def _first_array(tree):
    return next((leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape")), None)


def _shape_of(args) -> tuple[int, ...]:
    first = _first_array(args)
    return () if first is None else tuple(first.shape[1:])
