"""A graph of ONNX operators as it is built: what can be folded into a node before is, and layouts change rarely.

Convolutions of ONNX have channels before height and width. A change of layout sinks below what is computed element by
element, where it meets the next one and both vanish. Scale and offset per channel go into the kernel and the bias of
the convolution or dense layer above; so batch normalisation costs nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnet_jax.export.program import is_of_batch

Shape = tuple[int, ...]  # some sizes are of the batch: see `program.is_of_batch`

_AFFINE = ("Add", "Sub", "Mul", "Div")


class Value:
    """A tensor: a constant, an input of the graph, or what an operator makes of others.

    Attributes:
      shape: sizes; 1 where a broadcast is left to the operator that reads it.
      dtype: numpy's.
      op, inputs, attributes: the operator, or None and nothing.
      constant: the array, or None.
      scope: the layer that it stands in.
      is_shared: more than one operator reads it, so that nothing may be folded into it.
    """

    def __init__(self, shape: Shape, dtype, op=None, inputs=(), attributes: Mapping[str, Any] | None = None, **more):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.op, self.inputs, self.attributes = op, tuple(inputs), dict(attributes or {})
        self.constant = more.get("constant")
        self.scope = more.get("scope", "")
        self.is_shared = False

    def share(self) -> None:
        """Notes that it is read more than once."""
        self.is_shared = True
        if self.op == "Transpose":
            self.inputs[0].share()


def constant(array) -> Value:
    array = np.asarray(array)
    return Value(array.shape, array.dtype, constant=array)


def elementwise(op: str, *inputs: Value, dtype=None) -> Value:
    """An operator that works element by element; its inputs have equal ranks or are scalars, and are broadcast."""
    dtype = inputs[-1].dtype if dtype is None else np.dtype(dtype)
    if permutation := _layout(inputs):
        moved = [_in_layout(value, permutation) for value in inputs]
        return transpose(elementwise(op, *moved, dtype=dtype), permutation)
    return _folded(op, inputs) or Value(_broadcast(inputs), dtype, op, inputs, {"to": dtype} if op == "Cast" else None)


def transpose(value: Value, permutation: Sequence[int]) -> Value:
    """Axis i of the result is axis `permutation[i]` of the value."""
    permutation = tuple(permutation)
    if permutation == tuple(range(len(permutation))):
        return value
    if value.constant is not None:
        return constant(np.transpose(value.constant, permutation))
    if value.op == "Transpose":
        return transpose(value.inputs[0], [value.attributes["perm"][axis] for axis in permutation])
    shape = tuple(value.shape[axis] for axis in permutation)
    moved = [axis for axis in permutation if value.shape[axis] != 1]
    if value.op == "Reshape" and moved == sorted(moved):
        return reshape(value, shape)
    return Value(shape, value.dtype, "Transpose", (value,), {"perm": list(permutation)})


def reshape(value: Value, shape: Shape) -> Value:
    """At most one size may be of the batch."""
    if value.shape == tuple(shape):
        return value
    if value.constant is not None:
        return constant(value.constant.reshape(shape))
    if value.op == "Reshape":
        value = value.inputs[0]
        if value.shape == tuple(shape):
            return value
    sizes = [-1 if is_of_batch(size) else size for size in shape]
    return Value(shape, value.dtype, "Reshape", (value, constant(np.asarray(sizes, np.int64))))


def reduce(op: str, value: Value, axes: Sequence[int]) -> Value:
    """ReduceSum, ReduceMax and so on, without the axes that are reduced."""
    kept = [axis for axis in range(len(value.shape)) if axis not in axes]
    if value.op == "Transpose":
        permutation = value.attributes["perm"]
        origins = [permutation[axis] for axis in kept]
        inner = reduce(op, value.inputs[0], [permutation[axis] for axis in axes])
        return transpose(inner, [sorted(origins).index(axis) for axis in origins])
    axes_value = constant(np.asarray(sorted(axes), np.int64))
    shape = [value.shape[axis] for axis in kept]
    return Value(shape, value.dtype, op, (value, axes_value), {"keepdims": 0})


def _layout(inputs: Sequence[Value]) -> tuple[int, ...] | None:
    """The permutation of the largest input that is transposed, where no larger one is not."""
    wide = [value for value in inputs if value.constant is None]
    if not wide:
        return None
    largest = max(wide, key=lambda value: math.prod(value.shape))
    return tuple(largest.attributes["perm"]) if largest.op == "Transpose" else None


def _in_layout(value: Value, permutation: Sequence[int]) -> Value:
    return transpose(value, np.argsort(permutation).tolist()) if value.shape else value


def _broadcast(inputs: Sequence[Value]) -> Shape:
    shapes = [value.shape for value in inputs if value.shape]
    return tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*shapes, strict=True))


def _folded(op: str, inputs: Sequence[Value]) -> Value | None:
    """What the node above becomes when the operator is folded into it, or None."""
    if op in ("Add", "Mul", "Max", "Min") and inputs[0].constant is not None:
        inputs = inputs[::-1]
    if len(inputs) != 2 or inputs[1].constant is None:
        return None
    value, other = inputs
    number = other.constant.item() if other.constant.size == 1 else None
    if op in ("Max", "Min") and number is not None and value.dtype == np.float32:
        return _clipped(op, value, number)
    if value.is_shared:
        return None
    if op in _AFFINE and value.op in ("Conv", "Gemm"):
        return _affine(op, value, other.constant)
    if op in ("Div", "Mul") and number is not None and value.op == "ReduceSum":
        full, axes = value.inputs
        sizes = [full.shape[axis] for axis in axes.constant]
        count = math.prod(sizes)
        if not is_of_batch(count) and math.isclose(number, count if op == "Div" else 1 / count, rel_tol=1e-6):
            return Value(value.shape, value.dtype, "ReduceMean", value.inputs, value.attributes)
    return None


def _clipped(op: str, value: Value, number: float) -> Value:
    """Relu or Clip; of two bounds in a row, one node."""
    if op == "Min" and value.op in ("Relu", "Clip") and not value.is_shared and len(value.inputs) < 3:
        low = value.inputs[1] if value.op == "Clip" else constant(np.float32(0))
        if low.constant <= number:
            return Value(value.shape, value.dtype, "Clip", (value.inputs[0], low, constant(np.float32(number))))
    if op == "Max" and number == 0:
        return Value(value.shape, value.dtype, "Relu", (value,))
    bound = constant(np.float32(number))
    bounds = (bound,) if op == "Max" else (constant(np.float32(-np.inf)), bound)
    return Value(value.shape, value.dtype, "Clip", (value, *bounds))


def _affine(op: str, value: Value, array: np.ndarray) -> Value | None:
    """A convolution or dense layer with a scale or an offset per channel in its weights."""
    x, kernel, *bias = value.inputs
    channels = value.shape[1]
    if (
        value.dtype != np.float32
        or kernel.constant is None
        or array.size not in (1, channels)
        or (array.ndim and array.shape[1:2] != (array.size,))
    ):
        return None
    per_channel = np.broadcast_to(array.astype(np.float64).reshape(-1), channels)
    offset = bias[0].constant.astype(np.float64) if bias else np.zeros(channels)
    weights = kernel.constant.astype(np.float64)
    if op in ("Add", "Sub"):
        offset = offset + per_channel if op == "Add" else offset - per_channel
    else:
        factor = per_channel if op == "Mul" else 1 / per_channel
        weights = weights * (factor.reshape(-1, *[1] * (weights.ndim - 1)) if value.op == "Conv" else factor)
        offset = offset * factor
    inputs = (x, constant(weights.astype(np.float32)), constant(offset.astype(np.float32)))
    return Value(value.shape, value.dtype, value.op, inputs, value.attributes, scope=value.scope)
