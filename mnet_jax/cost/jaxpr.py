"""Multiply-adds of a traced program, by the scope that its source names.

Seen: `conv_general_dilated` and `dot_general`, what convolutions, dense layers, `einsum`, `dot` and `@` become, also
inside jit, remat, scan (times its length), cond (the largest branch) and `lax.platform_dependent` (the default).
Not seen, and reported: products with a weight that elementwise operations add up, loops whose number of turns is not
known, and operations that hide their arithmetic, such as FFTs, linear solvers, callbacks and Pallas kernels.
Products of two activations that are summed by elementwise operations are neither seen nor reported.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Sequence

from jax.extend import core

_SCOPE = "mult_adds_of"

_OPAQUE = frozenset((
    "pallas_call", "ffi_call", "custom_call", "pure_callback", "io_callback", "shard_map", "ragged_dot_general",
    "ragged_dot", "scaled_matmul", "scaled_dot", "fft", "cholesky", "triangular_solve", "lu", "geqrf",
    "householder_product", "eigh", "eig", "svd", "schur", "hessenberg", "tridiagonal", "tridiagonal_solve",
))  # fmt: skip

_SAME_VALUES = frozenset((
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "copy_p", "expand_dims", "gather", "neg", "pad",
    "dynamic_slice", "reduce_precision", "reshape", "rev", "slice", "squeeze", "transpose",
))  # fmt: skip

_SUMS = frozenset(("reduce_sum", "cumsum", "reduce_window_sum"))


def scope_name(number: int) -> str:
    """What `jax.named_scope` is given, so that the arithmetic inside is found under `number`."""
    return f"{_SCOPE}:{number}"


@dataclasses.dataclass
class Arithmetic:
    """Findings by scope; arithmetic outside of every scope is under 0.

    Attributes:
      mult_adds: multiply-adds.
      times: how often the scope is run.
      unseen: what kept arithmetic from being counted, in words.
    """

    mult_adds: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    times: dict = dataclasses.field(default_factory=dict)
    unseen: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(dict))


@dataclasses.dataclass(frozen=True)
class _Tag:
    """What is known of a value.

    Attributes:
      kind: "weight", a function of weights alone; "product" of a weight and something else; "carry", what a loop hands
        from turn to turn, so that adding a product to it adds up products.
      axes: along which the weight varies.
      scope: where the product or the loop stands; None for a weight.
    """

    kind: str
    axes: frozenset[int]
    scope: int | None = None


def count_arithmetic(program: core.ClosedJaxpr, is_weight: Sequence[bool]) -> Arithmetic:
    """Counts a program.

    Args:
      program: as `jax.make_jaxpr` gives it.
      is_weight: for each of its inputs.
    """
    found = Arithmetic()
    tags = [_weight(v.aval) if w else None for v, w in zip(program.jaxpr.invars, is_weight, strict=True)]
    _Walk(found).run(program.jaxpr, tags, 0, 1)
    return found


class _Walk:
    """One pass over the equations of a program and of the programs inside it."""

    def __init__(self, found: Arithmetic):
        self._found = found

    def run(self, jaxpr: core.Jaxpr, tags: Iterable[_Tag | None], scope: int, times: int) -> list[_Tag | None]:
        """Adds to the findings; returns the tags of the outputs."""
        known = dict(zip(jaxpr.invars, tags, strict=True))

        def tag_of(atom):
            return None if isinstance(atom, core.Literal) else known.get(atom)

        for eqn in jaxpr.eqns:
            inner_scope = _innermost(eqn.source_info.name_stack, scope)
            self._found.times[inner_scope] = max(times, self._found.times.get(inner_scope, 0))
            inputs = [tag_of(atom) for atom in eqn.invars]
            known |= zip(eqn.outvars, self._equation(eqn, inputs, inner_scope, times), strict=True)
        return [tag_of(atom) for atom in jaxpr.outvars]

    def _equation(self, eqn, tags, scope, times) -> list[_Tag | None]:
        match eqn.primitive.name:
            case "conv_general_dilated":
                self._found.mult_adds[scope] += times * _of_convolution(eqn)
            case "dot_general":
                self._found.mult_adds[scope] += times * _of_dot(eqn)
            case "scan":
                return self._scan(eqn, tags, scope, times)
            case "while":
                return self._while(eqn, tags, scope, times)
            case "cond":
                return self._cond(eqn, tags[1:], scope, times)
            case name if name in _OPAQUE:
                self._report(scope, f"{name} hides its arithmetic")
            case _:
                if inner := _program_of(eqn):
                    return self._inside(inner, tags, scope, times, eqn)
                return [self._elementwise(eqn, tags, scope)] * len(eqn.outvars)
        return [None] * len(eqn.outvars)

    def _inside(self, inner, tags, scope, times, eqn) -> list[_Tag | None]:
        inner = getattr(inner, "jaxpr", inner)
        fits = len(inner.invars) == len(tags)
        found = self.run(inner, tags if fits else [None] * len(inner.invars), scope, times)
        return found if len(found) == len(eqn.outvars) else [None] * len(eqn.outvars)

    def _scan(self, eqn, tags, scope, times) -> list[None]:
        """The body's inputs are constants, carries, and slices, which have an axis less than what they are cut from."""
        inner = eqn.params["jaxpr"].jaxpr
        num_carries = sum(v.aval.ndim == w.aval.ndim for v, w in zip(eqn.outvars, inner.outvars, strict=True))
        last = sum(v.aval.ndim == w.aval.ndim for v, w in zip(eqn.invars, inner.invars, strict=True))
        inner_tags = [
            _weight(v.aval) if tag and tag.kind == "weight" else None for v, tag in zip(inner.invars, tags, strict=True)
        ]
        inner_tags[last - num_carries : last] = [_carry(v.aval, scope) for v in inner.invars[last - num_carries : last]]
        self.run(inner, inner_tags, scope, times * eqn.params["length"])
        return [None] * len(eqn.outvars)

    def _while(self, eqn, tags, scope, times) -> list[None]:
        before = self._found.mult_adds.total()
        self._inside(eqn.params["cond_jaxpr"], (), scope, times, eqn)
        body, num_consts = eqn.params["body_jaxpr"].jaxpr, eqn.params["body_nconsts"]
        consts = tags[eqn.params["cond_nconsts"] :][:num_consts]
        self.run(body, [*consts, *(_carry(v.aval, scope) for v in body.invars[num_consts:])], scope, times)
        if self._found.mult_adds.total() > before:
            self._report(scope, "a loop runs a number of turns that is not known; one is counted")
        return [None] * len(eqn.outvars)

    def _cond(self, eqn, tags, scope, times) -> list[_Tag | None]:
        branches = eqn.params["branches"]
        if platforms := eqn.params.get("branches_platforms"):
            return self._inside(branches[platforms.index(None) if None in platforms else 0], tags, scope, times, eqn)
        found, outputs = [], []
        for branch in branches:
            found.append(Arithmetic())
            outputs.append(_Walk(found[-1])._inside(branch, tags, scope, times, eqn))
        largest = max(found, key=lambda tally: tally.mult_adds.total())
        self._found.mult_adds.update(largest.mult_adds)
        self._found.times |= largest.times
        for branch in found:
            for key, reasons in branch.unseen.items():
                self._found.unseen[key] |= reasons
        return outputs[found.index(largest)]

    def _elementwise(self, eqn, tags, scope) -> _Tag | None:
        name, (out, *_) = eqn.primitive.name, eqn.outvars
        tags = [tag if tag and tag.scope in (None, scope) else None for tag in tags]
        products = [tag for tag in tags if tag and tag.kind == "product"]
        if name in _SUMS and products:
            summed = set(eqn.params.get("axes", range(out.aval.ndim)))
            if products[0].axes & summed:
                self._report(scope, "products with a weight are added up by elementwise operations")
            return None
        carries = [tag for tag in tags if tag and tag.kind == "carry"]
        if name in ("add", "sub", "add_any") and products and len(products) + len(carries) > 1:
            self._report(scope, "products with a weight are added up by elementwise operations")
            return None
        if name in _SAME_VALUES and products:
            return dataclasses.replace(products[0], axes=_axes_after(eqn, products[0]))
        weights = [tag for tag in tags if tag and tag.kind == "weight"]
        if products or not weights:
            return None
        if all(
            (tag and tag.kind == "weight") or isinstance(atom, core.Literal)
            for tag, atom in zip(tags, eqn.invars, strict=True)
        ):
            axes = _axes_after(eqn, weights[0]) if len(weights) == 1 else frozenset().union(*(w.axes for w in weights))
            return _Tag("weight", axes & _varying(out.aval))
        if name in ("mul", "div"):
            return _Tag("product", weights[0].axes, scope)
        return None

    def _report(self, scope, reason: str) -> None:
        self._found.unseen[scope][reason] = None


def _innermost(name_stack, outer: int) -> int:
    found = re.findall(rf"{_SCOPE}:(\d+)", str(name_stack))
    return int(found[-1]) if found else outer


def _program_of(eqn):
    """The program that an equation such as jit runs once, or None."""
    candidates = (eqn.params.get(name) for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"))
    return next((c for c in candidates if isinstance(c, core.Jaxpr | core.ClosedJaxpr)), None)


def _of_dot(eqn) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    lhs = eqn.invars[0].aval
    return eqn.outvars[0].aval.size * math.prod(lhs.shape[axis] for axis in contracted)


def _of_convolution(eqn) -> int:
    """Every tap at every output position; of a transposed convolution, every tap at every input position."""
    lhs, rhs, out = eqn.invars[0].aval, eqn.invars[1].aval, eqn.outvars[0].aval
    numbers = eqn.params["dimension_numbers"]
    positions = 1
    for dilation, lhs_axis, out_axis in zip(
        eqn.params["lhs_dilation"], numbers.lhs_spec[2:], numbers.out_spec[2:], strict=True
    ):
        positions *= out.shape[out_axis] if dilation == 1 else lhs.shape[lhs_axis]
    return out.shape[numbers.out_spec[0]] * positions * rhs.size


def _weight(aval) -> _Tag | None:
    return _Tag("weight", _varying(aval)) if getattr(aval, "size", 1) > 1 else None


def _carry(aval, scope: int) -> _Tag:
    return _Tag("carry", _varying(aval), scope)


def _varying(aval) -> frozenset[int]:
    return frozenset(axis for axis, size in enumerate(aval.shape) if size > 1)


def _axes_after(eqn, tag: _Tag) -> frozenset[int]:
    """Where the axes of a tag go; all axes where that is not clear."""
    match eqn.primitive.name:
        case "broadcast_in_dim":
            return frozenset(eqn.params["broadcast_dimensions"][axis] for axis in tag.axes)
        case "transpose":
            return frozenset(eqn.params["permutation"].index(axis) for axis in tag.axes)
        case "convert_element_type" | "neg" | "slice" | "pad" | "copy" | "reduce_precision" | "rev":
            return tag.axes
    return _varying(eqn.outvars[0].aval)
