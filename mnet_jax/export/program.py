"""A network as one flat program of textbook layers in float32, from images of any number to logits or probabilities."""

import collections
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.extend import core

from mnet_jax.data.augment import standardize
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.train.trained import Trained

BATCH = 65_521  # images that a program is traced with: a prime, so that a size which depends on their number shows it
_OTHER_BATCH = 65_519  # traced as well: a number that differs then depends on theirs

PREPROCESSING, PROBABILITIES = "preprocessing", "probabilities"  # scopes of what is around the network


@dataclasses.dataclass(frozen=True)
class Network:
    """What is exported.

    Attributes:
      function: maps images (batch, height, width, channels) to (batch, num_classes) in float32.
      image_shape: (height, width, channels).
      dtype: of the images, "uint8" or "float32".
      output: "logits" or "probabilities".
    """

    function: Callable[[Any], jax.Array]
    image_shape: tuple[int, int, int]
    dtype: str
    output: str

    def images(self, batch) -> jax.ShapeDtypeStruct:
        """A batch of images, for tracing."""
        return jax.ShapeDtypeStruct((batch, *self.image_shape), self.dtype)


def is_of_batch(size: int) -> bool:
    """Whether a size of a traced program depends on the number of images."""
    return size > 0 and size % BATCH == 0


def network_of(trained: Trained, with_preprocessing: bool = False) -> Network:
    """The network of a trial, as it is evaluated.

    Args:
      trained: as `mnet_jax.load` returns it.
      with_preprocessing: take uint8 images as the data set has them, resize and normalise them, and return
        probabilities; else take what `evaluate` feeds the network, and return logits.

    Raises:
      UserError: it does not classify images.
    """
    config, module = trained.config, textbook(trained.module)
    if registry.task(type(module)) != registry.CLASSIFICATION:
        raise UserError(
            f"{config.model.name} gives a class for each pixel; exports are of networks that classify images"
        )
    channels = config.data.channels

    def logits(images):
        return module.apply(trained.variables, images, train=False).astype(jnp.float32)

    def probabilities(images):
        with jax.named_scope(PREPROCESSING):
            images = standardize(images, config.data, config.input_size)
        y = logits(images)
        with jax.named_scope(PROBABILITIES):
            return jax.nn.softmax(y)

    if with_preprocessing:
        side = config.data.image_size
        return Network(probabilities, (side, side, channels), "uint8", "probabilities")
    return Network(logits, (config.input_size, config.input_size, channels), "float32", "logits")


def textbook(module: nn.Module) -> nn.Module:
    """The same network in float32, of XLA's own convolutions where it knows others."""
    return _with(module, layers="textbook", dtype=jnp.float32)


def in_float32(module: nn.Module) -> nn.Module:
    """The same network, computed in float32."""
    return _with(module, dtype=jnp.float32)


def _with(module: nn.Module, **values) -> nn.Module:
    """With those of the values that it has a field for."""
    fields = {field.name for field in dataclasses.fields(module)}
    return module.clone(**{name: value for name, value in values.items() if name in fields})


@dataclasses.dataclass(frozen=True, eq=False)
class Variable:
    """What an equation makes; a new one each time that a program inside of another is run."""

    aval: Any  # shape and dtype


Atom = Variable | core.Literal


@dataclasses.dataclass(frozen=True)
class Equation:
    """One primitive of a program; `scope` is the path of the layer that it stands in."""

    primitive: core.Primitive
    inputs: tuple[Atom, ...]
    outputs: tuple[Variable, ...]
    params: Mapping[str, Any]
    scope: str


@dataclasses.dataclass(frozen=True)
class Program:
    """A traced function without programs inside of it.

    Attributes:
      constants: values of the variables that no equation makes.
      equations: in an order in which they can be run.
    """

    inputs: list[Variable]
    outputs: list[Atom]
    constants: dict[Variable, np.ndarray]
    equations: list[Equation]

    def uses(self) -> collections.Counter:
        """How often each variable is read."""
        read = [atom for equation in self.equations for atom in equation.inputs] + self.outputs
        return collections.Counter(atom for atom in read if not isinstance(atom, core.Literal))


def trace(network: Network) -> Program:
    """The program of a network for `BATCH` images.

    Raises:
      UserError: it computes with the number of images.
    """
    program, other = (_traced(network, batch) for batch in (BATCH, _OTHER_BATCH))
    for one, two in zip(program.equations, other.equations, strict=True):
        for atom, twin in zip(one.inputs, two.inputs, strict=True):
            if isinstance(atom, core.Literal) and not np.array_equal(atom.val, twin.val, equal_nan=True):
                raise UserError(
                    f"{one.scope or 'the network itself'}: it computes with the number of images of a batch"
                )
    return program


def _traced(network: Network, batch: int) -> Program:
    closed = jax.make_jaxpr(network.function)(network.images(batch))
    program = Program([Variable(var.aval) for var in closed.jaxpr.invars], [], {}, [])
    program.outputs.extend(_run(closed, program.inputs, program, ()))
    return program


def _run(closed, inputs: Sequence[Atom], program: Program, outer: tuple[str, ...]) -> list[Atom]:
    """Adds the equations of a program, with those of the programs inside of it; returns its outputs."""
    jaxpr = getattr(closed, "jaxpr", closed)
    known = dict(zip(jaxpr.invars, inputs, strict=True))
    for var, value in zip(jaxpr.constvars, getattr(closed, "consts", ()), strict=True):
        known[var] = Variable(var.aval)
        program.constants[known[var]] = np.asarray(value)

    def outside(atom):
        return atom if isinstance(atom, core.Literal) else known[atom]

    for eqn in jaxpr.eqns:
        scopes = (*outer, *_scopes(eqn))
        inputs = [outside(atom) for atom in eqn.invars]
        if (inner := _called(eqn)) is None:
            outputs = [Variable(var.aval) for var in eqn.outvars]
            program.equations.append(
                Equation(eqn.primitive, tuple(inputs), tuple(outputs), eqn.params, "/".join(scopes))
            )
        else:
            outputs = _run(inner, inputs, program, scopes)
        known |= zip(eqn.outvars, outputs, strict=True)
    return [outside(atom) for atom in jaxpr.outvars]


def _called(eqn):
    """The program that an equation such as jit runs once, or None."""
    if eqn.primitive.name in ("scan", "while", "cond"):
        return None
    candidates = (eqn.params.get(name) for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"))
    inner = next((c for c in candidates if isinstance(c, core.Jaxpr | core.ClosedJaxpr)), None)
    return inner if inner is not None and len(getattr(inner, "jaxpr", inner).invars) == len(eqn.invars) else None


def _scopes(eqn) -> Iterator[str]:
    for part in str(eqn.source_info.name_stack).split("/"):
        if part and not re.fullmatch(r"\w+\(.*\)", part):
            yield part
