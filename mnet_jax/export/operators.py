"""What each primitive of JAX is in operators of ONNX."""

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax import lax

from mnet_jax.export import graph
from mnet_jax.export.graph import Value, constant, elementwise, reshape, transpose
from mnet_jax.export.program import is_of_batch

Lowering = Callable[..., Value | list[Value]]


class Unsupported(Exception):
    """There is no operator for a primitive, or for how it is used, which the text says."""


def lowering_of(primitive: str) -> Lowering:
    """Takes the inputs as `Value`s, their shapes as JAX has them, the abstract output, and the primitive's parameters.

    Raises:
      Unsupported: the primitive has none.
    """
    if primitive not in _LOWERINGS:
        raise Unsupported("has no operator in ONNX here")
    return _LOWERINGS[primitive]


def materialized(value: Value, shape: Sequence[Any]) -> Value:
    """The value with every size of the shape, broadcast where it was left to a reader."""
    if value.shape == tuple(shape):
        return value
    if value.constant is not None and not any(map(is_of_batch, shape)):
        return constant(np.broadcast_to(value.constant, shape))
    return Value(shape, value.dtype, "Expand", (value,), {"shape": tuple(shape)})


def _element(op: str) -> Lowering:
    return lambda inputs, shapes, out, **_: elementwise(op, *inputs, dtype=out.dtype)


def _convert(inputs, shapes, out, **_):
    return inputs[0] if inputs[0].dtype == out.dtype else elementwise("Cast", *inputs, dtype=out.dtype)


def _same(inputs, shapes, out, **_):
    return inputs[0]


def _round(inputs, shapes, out, rounding_method):
    if rounding_method != lax.RoundingMethod.TO_NEAREST_EVEN:
        raise Unsupported("rounds halves away from zero")
    return elementwise("Round", *inputs)


def _rsqrt(inputs, shapes, out, **_):
    return elementwise("Reciprocal", elementwise("Sqrt", *inputs))


def _square(inputs, shapes, out, **_):
    return elementwise("Mul", inputs[0], inputs[0])


def _integer_pow(inputs, shapes, out, y, **_):
    return elementwise("Pow", inputs[0], constant(np.asarray(y, out.dtype)), dtype=out.dtype)


def _logical(op: str) -> Lowering:
    def lower(inputs, shapes, out, **_):
        if out.dtype != bool:
            raise Unsupported("works on the bits of integers")
        return elementwise(op, *inputs, dtype=bool)

    return lower


def _with_one(op: str, before: bool) -> Lowering:
    """log1p and expm1."""

    def lower(inputs, shapes, out, **_):
        one = constant(np.ones((), out.dtype))
        if before:
            return elementwise(op, elementwise("Add", inputs[0], one))
        return elementwise("Sub", elementwise(op, inputs[0]), one)

    return lower


def _exp2(inputs, shapes, out, **_):
    return elementwise("Exp", elementwise("Mul", inputs[0], constant(np.asarray(np.log(2), out.dtype))))


def _erfc(inputs, shapes, out, **_):
    return elementwise("Sub", constant(np.ones((), out.dtype)), elementwise("Erf", *inputs))


def _not_equal(inputs, shapes, out, **_):
    return elementwise("Not", elementwise("Equal", *inputs, dtype=bool), dtype=bool)


def _clamp(inputs, shapes, out, **_):
    low, x, high = inputs
    return elementwise("Min", elementwise("Max", x, low), high)


def _select(inputs, shapes, out, **_):
    if len(inputs) != 3 or inputs[0].dtype != bool:
        raise Unsupported("selects by numbers among several")
    predicate, otherwise, value = inputs
    return elementwise("Where", predicate, value, otherwise, dtype=out.dtype)


def _is_finite(inputs, shapes, out, **_):
    bound = constant(np.asarray(np.finfo(inputs[0].dtype).max, inputs[0].dtype))
    return elementwise("LessOrEqual", elementwise("Abs", inputs[0]), bound, dtype=bool)


def _broadcast_in_dim(inputs, shapes, out, broadcast_dimensions, **_):
    value = inputs[0]
    if not value.shape:
        return value
    sizes = dict(zip(broadcast_dimensions, value.shape, strict=True))
    return reshape(value, [sizes.get(axis, 1) for axis in range(len(out.shape))])


def _reshape(inputs, shapes, out, dimensions=None, **_):
    if dimensions is not None:
        raise Unsupported("reorders while it reshapes")
    if sum(map(is_of_batch, out.shape)) > 1:
        raise Unsupported("gives a shape with two sizes of the batch")
    return reshape(materialized(inputs[0], shapes[0]), out.shape)


def _squeeze(inputs, shapes, out, dimensions, **_):
    value = inputs[0]
    if not value.shape:
        return value
    return reshape(value, [size for axis, size in enumerate(value.shape) if axis not in dimensions])


def _expand_dims(inputs, shapes, out, dimensions, **_):
    value = inputs[0]
    left = iter(value.shape)
    return reshape(value, [1 if axis in dimensions else next(left) for axis in range(len(out.shape))])


def _transpose(inputs, shapes, out, permutation, **_):
    return transpose(inputs[0], permutation) if inputs[0].shape else inputs[0]


def _concatenate(inputs, shapes, out, dimension, **_):
    parts = [materialized(value, shape) for value, shape in zip(inputs, shapes, strict=True)]
    layouts = {tuple(part.attributes["perm"]) if part.op == "Transpose" else None for part in parts}
    if len(layouts) == 1 and None not in layouts:
        (permutation,) = layouts
        inner = [part.inputs[0] for part in parts]
        shape = [out.shape[permutation.index(axis)] for axis in range(len(permutation))]
        return transpose(Value(shape, out.dtype, "Concat", inner, {"axis": permutation[dimension]}), permutation)
    return Value(out.shape, out.dtype, "Concat", parts, {"axis": dimension})


def _slice(inputs, shapes, out, start_indices, limit_indices, strides, **_):
    of_batch = [axis for axis, size in enumerate(shapes[0]) if is_of_batch(size)]
    strides = strides or [1] * len(shapes[0])
    wholes = [(0, shapes[0][axis], 1) for axis in of_batch]
    if [(start_indices[axis], limit_indices[axis], strides[axis]) for axis in of_batch] != wholes:
        raise Unsupported("cuts along the batch")
    value = materialized(inputs[0], shapes[0])
    axes = [axis for axis in range(len(shapes[0])) if axis not in of_batch]
    starts, ends, steps = ([seq[i] for i in axes] for seq in (start_indices, limit_indices, strides))
    return _cut(value, out.shape, starts, ends, axes, steps)


def _dynamic_slice(inputs, shapes, out, slice_sizes, **_):
    value, *starts = inputs
    if any(start.constant is None for start in starts):
        raise Unsupported("cuts at a place that is computed")
    return _window(materialized(value, shapes[0]), [start.constant.item() for start in starts], slice_sizes)


def _gather(inputs, shapes, out, dimension_numbers, slice_sizes, **_):
    """A window at a known place, or known places along one axis."""
    value, indices = materialized(inputs[0], shapes[0]), inputs[1].constant
    numbers, rank = dimension_numbers, len(shapes[0])
    if indices is None or numbers.operand_batching_dims:
        raise Unsupported("takes from places that are computed")
    if indices.ndim == 1:
        starts = dict(zip(numbers.start_index_map, indices.tolist(), strict=True))
        window = _window(value, [starts.get(axis, 0) for axis in range(rank)], slice_sizes)
        return reshape(window, out.shape)
    along = tuple(numbers.start_index_map)
    rest = [axis for axis in range(rank) if axis not in along]
    is_whole = all(slice_sizes[axis] == shapes[0][axis] for axis in rest)
    if len(along) != 1 or tuple(numbers.collapsed_slice_dims) != along or indices.ndim != 2 or not is_whole:
        raise Unsupported("takes from several axes")
    (axis,) = along
    if not ((indices >= 0) & (indices < shapes[0][axis])).all():
        raise Unsupported("takes from places that are not there")
    (place,) = (i for i in range(len(out.shape)) if i not in numbers.offset_dims)
    shape = [*shapes[0][:axis], len(indices), *shapes[0][axis + 1 :]]
    taken = Value(shape, out.dtype, "Gather", (value, constant(indices[:, 0].astype(np.int64))), {"axis": axis})
    rest.insert(place, axis)
    return transpose(taken, rest)


def _window(value: Value, starts: Sequence[int], sizes: Sequence[Any]) -> Value:
    """As `lax.dynamic_slice`, at a known place."""
    axes = [axis for axis, size in enumerate(value.shape) if size != sizes[axis]]
    if any(is_of_batch(value.shape[axis]) for axis in axes):
        raise Unsupported("cuts along the batch")
    first = [min(max(starts[axis], 0), value.shape[axis] - sizes[axis]) for axis in axes]
    last = [start + sizes[axis] for start, axis in zip(first, axes, strict=True)]
    return _cut(value, sizes, first, last, axes, [1] * len(axes)) if axes else value


def _split(inputs, shapes, outs, sizes, axis, **_):
    value = materialized(inputs[0], shapes[0])
    if is_of_batch(shapes[0][axis]):
        raise Unsupported("cuts along the batch")
    parts, start = [], 0
    for size, out in zip(sizes, outs, strict=True):
        parts.append(_cut(value, out.shape, [start], [start + size], [axis], [1]))
        start += size
    return parts


def _reverse(inputs, shapes, out, dimensions, **_):
    value = materialized(inputs[0], shapes[0])
    several = len(dimensions)
    return _cut(value, out.shape, [-1] * several, [-(2**31)] * several, dimensions, [-1] * several)


def _cut(value: Value, shape: Sequence[Any], *bounds: Sequence[int]) -> Value:
    """Slice, by its starts, ends, axes and steps."""
    return Value(shape, value.dtype, "Slice", (value, *(constant(np.asarray(b, np.int64)) for b in bounds)))


def _pad(inputs, shapes, out, padding_config, **_):
    value, filler = materialized(inputs[0], shapes[0]), inputs[1]
    if any(interior for *_, interior in padding_config):
        raise Unsupported("pads between elements")
    if any(min(low, high) < 0 for low, high, _ in padding_config):
        raise Unsupported("cuts off by negative padding")
    if filler.constant is None:
        raise Unsupported("pads with a value that is computed")
    pads = [low for low, *_ in padding_config] + [high for _, high, _ in padding_config]
    return Value(out.shape, out.dtype, "Pad", (value, constant(np.asarray(pads, np.int64)), filler))


def _tile(inputs, shapes, out, reps, **_):
    if any(is_of_batch(size) and rep != 1 for size, rep in zip(shapes[0], reps, strict=True)):
        raise Unsupported("repeats the images of a batch")
    value = materialized(inputs[0], shapes[0])
    return Value(out.shape, out.dtype, "Tile", (value, constant(np.asarray(reps, np.int64))))


def _reduce(op: str) -> Lowering:
    def lower(inputs, shapes, out, axes, **_):
        if any(is_of_batch(shapes[0][axis]) for axis in axes):
            raise Unsupported("mixes the images of a batch")
        own = inputs[0].shape or (1,) * len(shapes[0])
        wide = [full if axis in axes else size for axis, (full, size) in enumerate(zip(shapes[0], own, strict=True))]
        return graph.reduce(op, materialized(inputs[0], wide), axes)

    return lower


def _argmax(op: str) -> Lowering:
    def lower(inputs, shapes, out, axes, index_dtype, **_):
        value, (axis,) = materialized(inputs[0], shapes[0]), axes
        found = Value(out.shape, np.int64, op, (value,), {"axis": axis, "keepdims": 0})
        return elementwise("Cast", found, dtype=index_dtype)

    return lower


def _dot(inputs, shapes, out, dimension_numbers, **_):
    (contract_left, contract_right), (batch_left, batch_right) = dimension_numbers
    left, right = (materialized(value, shape) for value, shape in zip(inputs, shapes, strict=True))
    is_plain = not batch_left and len(contract_left) == 1 and contract_left[0] == len(shapes[0]) - 1
    if is_plain and len(shapes[1]) == 2 and right.constant is not None:
        weights = right if contract_right[0] == 0 else transpose(right, (1, 0))
        return Value(out.shape, out.dtype, "Gemm" if len(shapes[0]) == 2 else "MatMul", (left, weights))
    letters = iter(string.ascii_letters)
    names = [[next(letters) for _ in shape] for shape in shapes]
    for pairs in (zip(contract_left, contract_right, strict=True), zip(batch_left, batch_right, strict=True)):
        for i, j in pairs:
            names[1][j] = names[0][i]
    batch = [names[0][i] for i in batch_left]
    rest = [
        [name for i, name in enumerate(side) if i not in (*contracted, *batched)]
        for side, contracted, batched in zip(
            names, (contract_left, contract_right), (batch_left, batch_right), strict=True
        )
    ]
    equation = f"{''.join(names[0])},{''.join(names[1])}->{''.join([*batch, *rest[0], *rest[1]])}"
    return Value(out.shape, out.dtype, "Einsum", (left, right), {"equation": equation})


def _conv(inputs, shapes, out, **params):
    numbers = params["dimension_numbers"]
    if any(d != 1 for d in params["lhs_dilation"]):
        raise Unsupported("is a transposed convolution (lhs_dilation)")
    if params["batch_group_count"] != 1:
        raise Unsupported("has groups of the batch")
    if any(min(pair) < 0 for pair in params["padding"]):
        raise Unsupported("cuts off by negative padding")
    x = transpose(materialized(inputs[0], shapes[0]), numbers.lhs_spec)
    kernel = transpose(materialized(inputs[1], shapes[1]), numbers.rhs_spec)
    attributes = {
        "strides": list(params["window_strides"]),
        "pads": [low for low, _ in params["padding"]] + [high for _, high in params["padding"]],
        "dilations": list(params["rhs_dilation"]),
        "group": params["feature_group_count"],
        "kernel_shape": list(kernel.shape[2:]),
    }
    shape = [out.shape[axis] for axis in numbers.out_spec]
    y = Value(shape, out.dtype, "Conv", (x, kernel), attributes)
    return transpose(y, np.argsort(numbers.out_spec).tolist())


def _pool(op: str) -> Lowering:
    def lower(inputs, shapes, out, window_dimensions, window_strides, padding, base_dilation, window_dilation):
        rank = len(window_dimensions)
        moving = [i for i in range(rank) if (window_dimensions[i], window_strides[i]) != (1, 1)]
        still = [i for i in range(rank) if i not in moving]
        if any(d != 1 for d in (*base_dilation, *(window_dilation if op != "MaxPool" else ()))):
            raise Unsupported("pools with dilation")
        while len(still) > 2:  # a side along which nothing moves is pooled by a window of 1
            moving.append(still.pop(1))
        moving.sort()
        if len(still) != 2 or any(padding[i] != (0, 0) for i in still):
            raise Unsupported("pools along the batch or the channels")
        order = [*still, *moving]
        x = transpose(materialized(inputs[0], shapes[0]), order)
        attributes = {
            "kernel_shape": [window_dimensions[i] for i in moving],
            "strides": [window_strides[i] for i in moving],
            "pads": [padding[i][0] for i in moving] + [padding[i][1] for i in moving],
        } | ({"count_include_pad": 1} if op == "AveragePool" else {"dilations": [window_dilation[i] for i in moving]})
        y = Value([out.shape[i] for i in order], out.dtype, op, (x,), attributes)
        if op == "AveragePool":  # the sum of a window
            y = elementwise("Mul", y, constant(np.asarray(np.prod(window_dimensions), out.dtype)))
        return transpose(y, np.argsort(order).tolist())

    return lower


_LOWERINGS: dict[str, Lowering] = {
    "add": _element("Add"), "add_any": _element("Add"), "sub": _element("Sub"), "mul": _element("Mul"),
    "div": _element("Div"), "max": _element("Max"), "min": _element("Min"), "neg": _element("Neg"),
    "abs": _element("Abs"), "sign": _element("Sign"), "floor": _element("Floor"), "ceil": _element("Ceil"),
    "round": _round, "exp": _element("Exp"), "log": _element("Log"), "sqrt": _element("Sqrt"),
    "tanh": _element("Tanh"), "logistic": _element("Sigmoid"), "erf": _element("Erf"), "erfc": _erfc,
    "sin": _element("Sin"), "cos": _element("Cos"), "pow": _element("Pow"), "eq": _element("Equal"),
    "gt": _element("Greater"), "ge": _element("GreaterOrEqual"), "lt": _element("Less"),
    "le": _element("LessOrEqual"), "ne": _not_equal, "and": _logical("And"), "or": _logical("Or"),
    "not": _logical("Not"), "is_finite": _is_finite, "rsqrt": _rsqrt, "square": _square, "integer_pow": _integer_pow,
    "exp2": _exp2, "clamp": _clamp, "log1p": _with_one("Log", before=True), "expm1": _with_one("Exp", before=False),
    "select_n": _select, "convert_element_type": _convert, "copy": _same, "copy_p": _same, "stop_gradient": _same,
    "optimization_barrier": lambda inputs, *_, **__: list(inputs), "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape, "squeeze": _squeeze, "expand_dims": _expand_dims, "transpose": _transpose,
    "concatenate": _concatenate, "slice": _slice, "split": _split, "rev": _reverse, "pad": _pad, "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "tile": _tile, "reduce_sum": _reduce("ReduceSum"), "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"), "reduce_prod": _reduce("ReduceProd"), "argmax": _argmax("ArgMax"),
    "argmin": _argmax("ArgMin"), "dot_general": _dot, "conv_general_dilated": _conv,
    "reduce_window_max": _pool("MaxPool"), "reduce_window_sum": _pool("AveragePool"),
}  # fmt: skip
