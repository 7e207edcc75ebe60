"""Keeps XLA from fusing a function with what is around it."""

from collections.abc import Callable

try:
    from jax.experimental.xla_metadata import xla_metadata_call
except ImportError:  # jax 0.10
    from jax.experimental.scheduling_groups import xla_metadata_call


def out_of_line(function: Callable) -> Callable:
    """`function`, called and not inlined: its arguments are computed once, and stored.

    XLA:CPU drops `optimization_barrier` before it fuses, and then computes an elementwise argument again for every
    product that reads it.
    """
    return xla_metadata_call(function, inlineable="false")
