"""A traced network as an ONNX model."""

import collections
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import onnx
from jax.extend import core
from onnx import helper, numpy_helper

from mnet_jax.errors import UserError
from mnet_jax.export.graph import Value, constant
from mnet_jax.export.operators import Unsupported, lowering_of, materialized
from mnet_jax.export.program import BATCH, Equation, Network, Program, is_of_batch, trace

OPSET, IR_VERSION = 18, 9  # of onnxruntime 1.14 and newer


def as_model(network: Network, name: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The ONNX model of a network: batch normalisation folded, batch of any size.

    Args:
      network: see `program.network_of`.
      name: of the graph.
      metadata: of the model, such as {"class_names": ...}.

    Raises:
      UserError: the network computes something that has no operator here; layer and primitive are named.
    """
    program = trace(network)
    images = Value(program.inputs[0].aval.shape, network.dtype)
    graph_input = helper.make_tensor_value_info("images", _type(images.dtype), _sizes(images.shape))
    (output,) = _values(program, images)
    output = materialized(output, program.outputs[0].aval.shape)
    writer = _Writer(images)
    result = writer.write(output, network.output)
    graph_output = helper.make_tensor_value_info(result, _type(output.dtype), _sizes(output.shape))
    graph = helper.make_graph(writer.nodes, name, [graph_input], [graph_output], writer.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="mnet_jax")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # such as onnx.shape_inference.InferenceError
        why, _, _ = str(error).strip().partition("\n")
        raise UserError(f"ONNX: the network computes in types that an operator does not take ({why})") from error
    return model


def _values(program: Program, images: Value) -> list[Value]:
    uses = program.uses()
    known: dict[Any, Value] = {program.inputs[0]: images}
    for var, array in program.constants.items():
        if any(map(is_of_batch, array.shape)):
            raise UserError(f"ONNX: a constant has the size of the batch, {array.shape} for {BATCH} images")
        known[var] = constant(array)

    def value_of(atom):
        return constant(np.asarray(atom.val, atom.aval.dtype)) if isinstance(atom, core.Literal) else known[atom]

    for equation in program.equations:
        inputs = [value_of(atom) for atom in equation.inputs]
        results = _evaluated(equation, inputs) or _lowered(equation, inputs)
        for var, value in zip(equation.outputs, results, strict=True):
            value.scope = value.scope or equation.scope
            if value.op == "Transpose":
                value.inputs[0].scope = value.inputs[0].scope or equation.scope
            if uses[var] > 1:
                value.share()
            known[var] = value
    return [value_of(atom) for atom in program.outputs]


def _evaluated(equation: Equation, inputs: Sequence[Value]) -> list[Value] | None:
    """What an equation of constants gives."""
    if not all(value.constant is not None for value in inputs) or not _has_shape(equation):
        return None
    shapes = [atom.aval.shape for atom in equation.inputs]
    full = [np.broadcast_to(value.constant, shape) for value, shape in zip(inputs, shapes, strict=True)]
    with jax.ensure_compile_time_eval():
        results = equation.primitive.bind(*full, **equation.params)
    return [constant(result) for result in (results if equation.primitive.multiple_results else [results])]


def _has_shape(equation: Equation) -> bool:
    atoms = (*equation.inputs, *equation.outputs)
    return not any(is_of_batch(size) for atom in atoms for size in atom.aval.shape)


def _lowered(equation: Equation, inputs: list[Value]) -> list[Value]:
    shapes = [atom.aval.shape for atom in equation.inputs]
    outputs = [var.aval for var in equation.outputs]
    is_several = equation.primitive.multiple_results
    try:
        lower = lowering_of(equation.primitive.name)
        found = lower(inputs, shapes, outputs if is_several else outputs[0], **equation.params)
    except Unsupported as error:
        layer = equation.scope or "the network itself"
        raise UserError(f"ONNX: {layer}: the primitive {equation.primitive.name} {error}") from error
    return found if is_several else [found]


class _Writer:
    """The nodes of the values that an output needs, in order."""

    def __init__(self, images: Value):
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._names: dict[int, str] = {id(images): "images"}
        self._kept: list[Value] = [images]  # so that no other value takes its id
        self._counts: collections.Counter = collections.Counter()

    def write(self, output: Value, name: str) -> str:
        """Adds what the output needs, and the output under this name."""
        todo = [output]
        while todo:
            value = todo[-1]
            missing = [other for other in value.inputs if id(other) not in self._names]
            if missing:
                todo += missing
                continue
            todo.pop()
            if id(value) not in self._names:
                self._add(value)
        self.nodes.append(helper.make_node("Identity", [self._names[id(output)]], [name], name=f"{name}/Identity"))
        return name

    def _add(self, value: Value) -> None:
        self._kept.append(value)
        stem = "/".join(filter(None, (value.scope, value.op or "constant")))
        self._counts[stem] += 1
        name = stem if self._counts[stem] == 1 else f"{stem}_{self._counts[stem] - 1}"
        self._names[id(value)] = name
        if value.constant is not None:
            self.initializers.append(numpy_helper.from_array(np.asarray(value.constant, order="C"), name))
            return
        inputs = [self._names[id(other)] for other in value.inputs]
        attributes = dict(value.attributes)
        if value.op == "Cast":
            attributes["to"] = _type(attributes["to"])
        if value.op == "Expand":
            inputs.append(self._shape(name, attributes.pop("shape")))
        self.nodes.append(helper.make_node(value.op, inputs, [name], name=name, **attributes))

    def _shape(self, name: str, shape: Sequence[Any]) -> str:
        """A shape as a tensor; the batch is that of the images."""
        parts = []
        for is_of, group in itertools.groupby(shape, is_of_batch):
            sizes = list(group)
            parts.append(f"{name}/sizes_{len(parts)}")
            if not is_of:
                self.initializers.append(numpy_helper.from_array(np.asarray(sizes, np.int64), parts[-1]))
            elif sizes != [BATCH]:
                raise UserError(f"ONNX: {name}: a size depends on the batch in a way that has no operator here")
            else:
                self.nodes.append(helper.make_node("Shape", ["images"], [parts[-1]], name=parts[-1], start=0, end=1))
        if len(parts) == 1:
            return parts[0]
        self.nodes.append(helper.make_node("Concat", parts, [f"{name}/sizes"], name=f"{name}/sizes", axis=0))
        return f"{name}/sizes"


def _type(dtype) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _sizes(shape: Sequence[Any]) -> list[int | str]:
    return ["batch" if is_of_batch(size) else size for size in shape]
