"""What a compiled program moves and sends, read from its text (`jax.stages.Compiled.as_text`).

Bytes are those between buffers in the device's main memory and whatever computes: operands and results of every
instruction that runs by itself, a fusion as one. They are an upper bound: who reads a part of an operand is charged for
all of it (slices excepted), scratch of library calls counts, and so does every branch of a conditional.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "recv",
    "reduce-scatter",
    "send",
)

_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.-]+) .*-> .*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.-]+) = (.+?) ([\w-]+)\((.*)$")
_CALLED = re.compile(r"\b(?:body|branch_computations|called_computations|calls|to_apply)=(%[\w.-]+|\{[^}]*\})")
_NAME = re.compile(r"%([\w.-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')

_INLINED = ("call", "conditional", "while")
_SLICES = ("dynamic-slice", "slice")
_VIEWS = (
    "add-dependency",
    "after-all",
    "bitcast",
    "constant",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An instruction that runs by itself.

    Attributes:
      name, opcode: in the program.
      bytes: that it moves to and from main memory, each time.
      cycles: that libtpu's cost model estimates, each time; 0 where it says nothing.
      times: that it runs; a loop without a known number of turns counts as one.
    """

    name: str
    opcode: str
    bytes: int
    cycles: int
    times: int


@dataclasses.dataclass(frozen=True)
class Collective:
    """
    Attributes:
      kind: one of `COLLECTIVES`.
      bytes: that each device gives, each time.
      times: as of a `Kernel`.
    """

    kind: str
    bytes: int
    times: int


@dataclasses.dataclass(frozen=True)
class _Array:
    """One array of a shape; `padded` bytes as it is stored in tiles, `payload` bytes without."""

    padded: int
    payload: int
    in_main_memory: bool


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    result: list[_Array]
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    def called(self) -> list[str]:
        return [name for found in _CALLED.findall(self.attributes) for name in _NAME.findall(found)]

    def trips(self) -> int:
        found = _TRIPS.search(self.attributes) if self.opcode == "while" else None
        return int(found[1]) if found else 1


class Program:
    """A program for one device of those that share it."""

    def __init__(self, text: str):
        """
        Raises:
          ValueError: the text has no entry computation.
        """
        self._computations: dict[str, dict[str, _Instruction]] = {}
        self._entry = None
        body: dict[str, _Instruction] = {}
        for line in text.splitlines():
            if head := _COMPUTATION.match(line):
                body = self._computations[head[2]] = {}
                self._entry = head[2] if head[1] else self._entry
            elif found := _INSTRUCTION.match(line):
                body[found[1]] = _parsed(*found.groups())
        if self._entry is None:
            raise ValueError("no program: its text has no ENTRY computation")

    def kernels(self) -> list[Kernel]:
        """What runs, in the order of the program: of the entry computation and of what it calls or repeats."""
        found = []
        for instruction, scope, times in self._walk(self._entry, 1, _INLINED):
            if instruction.opcode not in (*_VIEWS, *_INLINED):
                cycles = _CYCLES.search(instruction.attributes)
                moved = _moved(instruction, scope)
                found.append(
                    Kernel(instruction.name, instruction.opcode, moved, int(cycles[1]) if cycles else 0, times)
                )
        return found

    def collectives(self) -> list[Collective]:
        """Those of the whole program, also inside of fusions."""
        return [
            Collective(kind, sum(array.payload for array in _read(instruction, scope)), times)
            for instruction, scope, times in self._walk(self._entry, 1)
            if (kind := instruction.opcode.removesuffix("-start")) in COLLECTIVES
        ]

    def _walk(
        self, name: str, times: int, into: tuple[str, ...] | None = None
    ) -> Iterator[tuple[_Instruction, dict[str, _Instruction], int]]:
        """Each instruction, those beside it, and how often it runs; into what opcodes call, by default all."""
        scope = self._computations[name]
        for instruction in scope.values():
            yield instruction, scope, times
            if into is None or instruction.opcode in into:
                for called in instruction.called():
                    yield from self._walk(called, times * instruction.trips(), into)


def by_kind(collectives: list[Collective]) -> dict[str, dict[str, int]]:
    """{kind: {"number", "bytes"}} of a run of the program."""
    sums: dict[str, collections.Counter] = {}
    for one in collectives:
        sums.setdefault(one.kind, collections.Counter()).update(number=one.times, bytes=one.times * one.bytes)
    return {kind: dict(counter) for kind, counter in sorted(sums.items())}


def _parsed(name: str, result: str, opcode: str, rest: str) -> _Instruction:
    depth, end = 1, 0
    while depth and end < len(rest):
        depth += {"(": 1, ")": -1}.get(rest[end], 0)
        end += 1
    return _Instruction(name, _arrays(result), opcode, tuple(_NAME.findall(rest[:end])), rest[end:])


def _arrays(shape: str) -> list[_Array]:
    """The arrays of a shape, which may be a tuple."""
    found = []
    for kind, bits, dims, layout in _ARRAY.findall(shape):
        sides = [int(side) for side in dims.split(",") if side]
        width = 8 if kind == "pred" else int(bits)
        order, _, stored = layout.partition(":")
        tiled = list(sides)
        if tile := re.match(r"T\(([\d,]+)\)", stored):
            minor_first = [int(side) for side in order.split(",") if side]
            for side, size in zip(minor_first, reversed(tile[1].split(",")), strict=False):
                tiled[side] = -(-sides[side] // int(size)) * int(size)
        in_main_memory = not re.search(r"S\([1-9]", stored)
        found.append(_Array(*(-(-math.prod(s) * width // 8) for s in (tiled, sides)), in_main_memory))
    return found


def _read(instruction: _Instruction, scope: dict[str, _Instruction]) -> list[_Array]:
    """The arrays that an instruction reads, each once."""
    return [array for name in dict.fromkeys(instruction.operands) if name in scope for array in scope[name].result]


def _moved(instruction: _Instruction, scope: dict[str, _Instruction]) -> int:
    """Bytes between main memory and an instruction; of an asynchronous pair, the start reads and the end writes."""
    opcode, read = instruction.opcode, _read(instruction, scope)
    if opcode.endswith("-done"):
        return _in_main_memory(instruction.result)
    if opcode.removesuffix("-start") in _SLICES:
        taken = instruction.result[-2 if opcode.endswith("-start") else 0]
        reads = taken.padded if read[0].in_main_memory else 0
    else:
        reads = _in_main_memory(read)
    return reads if opcode.endswith("-start") else reads + _in_main_memory(instruction.result)


def _in_main_memory(arrays: list[_Array]) -> int:
    return sum(array.padded for array in arrays if array.in_main_memory)
