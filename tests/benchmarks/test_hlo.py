"""What is read of a compiled program: on a real one for this CPU, and on lines such as TPUs and GPUs have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.deviceless import hlo

SIDE = 256
MATRIX = 4 * SIDE * SIDE  # bytes


def kernels_of(*body, more=""):
    """The kernels of an entry computation with these lines."""
    lines = "\n".join(f"  {line}" for line in body)
    return hlo.Program(f"HloModule test\n{more}\nENTRY %main (p: f32[8]) -> f32[8] {{\n{lines}\n}}\n").kernels()


def moved(*body, more=""):
    return sum(kernel.bytes * kernel.times for kernel in kernels_of(*body, more=more))


def program_of(function, *shapes, **options):
    arguments = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    return hlo.Program(jax.jit(function, **options).lower(*arguments).compile().as_text())


def test_a_product_and_what_follows_it_read_and_write_their_matrices_once():
    program = program_of(lambda x, y: jnp.tanh(x @ y) + 1, *[(SIDE, SIDE)] * 2)
    assert [kernel.bytes for kernel in program.kernels()] == [3 * MATRIX, 2 * MATRIX], "x, y -> product; product -> sum"
    assert program.collectives() == []


def test_an_operand_that_is_used_twice_is_read_once():
    assert sum(kernel.bytes for kernel in program_of(lambda x: x @ x, (SIDE, SIDE)).kernels()) == 2 * MATRIX


def test_a_loop_moves_in_each_turn():
    def repeated(x):
        return jax.lax.fori_loop(0, 5, lambda _, y: y @ y, x)

    products = [kernel for kernel in program_of(repeated, (SIDE, SIDE)).kernels() if kernel.bytes == 2 * MATRIX]
    assert sum(kernel.times for kernel in products if kernel.opcode != "copy") == 5


@pytest.mark.skipif(jax.device_count() < 2, reason="needs JAX_NUM_CPU_DEVICES=8")
def test_a_sum_over_devices_is_an_all_reduce_of_what_each_has():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("data",))
    split, whole = (jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes)) for axes in (["data"], []))
    program = program_of(lambda x: x.sum(axis=0), (8, SIDE), in_shardings=split, out_shardings=whole)
    assert hlo.by_kind(program.collectives()) == {"all-reduce": {"number": 1, "bytes": 4 * SIDE}}


def test_on_chip_memory_is_not_counted():
    body = [
        "%p = f32[8,128]{1,0:T(8,128)} parameter(0)",
        "%near = f32[8,128]{1,0:T(8,128)S(1)} negate(%p)",
        "ROOT %far = f32[8,128]{1,0:T(8,128)} add(%near, %p)",
    ]
    assert [kernel.bytes for kernel in kernels_of(*body)] == [4096, 2 * 4096]


def test_tiles_are_stored_whole():
    assert moved("%p = bf16[3,130]{1,0:T(8,128)(2,1)} parameter(0)", "ROOT %n = f32[1] negate(%p)") == 2 * 8 * 256 + 4
    assert moved("%p = f32[3,130]{0,1:T(8,128)} parameter(0)", "ROOT %n = f32[1] negate(%p)") == 4 * 128 * 136 + 4
    assert (
        moved("%p = u8[2,3,5]{2,1,0:T(4,8)} parameter(0)", "ROOT %n = pred[1]{0:T(512)} negate(%p)") == 2 * 4 * 8 + 512
    )


@pytest.mark.parametrize(
    ("kind", "size"), [("pred", 1), ("s4", 0.5), ("u8", 1), ("f8e4m3fn", 1), ("bf16", 2), ("f32", 4), ("c64", 8)]
)
def test_elements_have_their_width(kind, size):
    assert moved(f"%p = {kind}[10]{{0}} parameter(0)", f"ROOT %n = {kind}[10]{{0}} negate(%p)") == 2 * 10 * size


def test_a_view_moves_nothing_and_a_slice_what_it_takes():
    assert moved(
        "%p = f32[1000]{0} parameter(0)",
        "%view = f32[10,100]{1,0} bitcast(%p)",
        "%pair = (f32[10,100]{1,0}, /*index=1*/f32[1000]{0}) tuple(%view, %p)",
        "%again = f32[1000]{0} get-tuple-element(%pair), index=1",
        "ROOT %part = f32[10]{0} slice(%again), slice={[0:10]}",
    ) == 2 * 40  # fmt: skip


def test_of_an_asynchronous_pair_the_start_reads_and_the_end_writes():
    copied = kernels_of(
        "%p = f32[1024]{0:T(1024)} parameter(0)",
        "%begin = (f32[1024]{0:T(1024)S(1)}, f32[1024]{0:T(1024)}, u32[]{:S(2)}) copy-start(%p)",
        "%end = f32[1024]{0:T(1024)S(1)} copy-done(%begin)",
        "ROOT %n = f32[1024]{0:T(1024)} negate(%end)",
    )
    assert [kernel.bytes for kernel in copied] == [4096, 0, 4096]
    taken = kernels_of(
        "%p = f32[9999]{0} parameter(0)",
        "%begin = ((f32[9999]{0}), f32[10]{0:S(1)}, u32[]{:S(2)}) slice-start(%p), slice={[0:10]}",
        "ROOT %end = f32[10]{0:S(1)} slice-done(%begin)",
    )
    assert [kernel.bytes for kernel in taken] == [40, 0]


def test_what_is_called_or_repeated_is_counted_where_it_is_called():
    more = """
%twice (q: f32[10]) -> f32[10] {
  %q = f32[10]{0} parameter(0)
  ROOT %n = f32[10]{0} negate(%q)
}
"""
    calls = "ROOT %c = f32[10]{0} call(%p), to_apply=%twice"
    loop = 'ROOT %w = f32[10]{0} while(%p), body=%twice, backend_config={"known_trip_count":{"n":"7"}}'
    fusion = "ROOT %f = f32[10]{0} fusion(%p), kind=kLoop, calls=%twice"
    for line, times in ((calls, 1), (loop, 7), (fusion, 1)):
        assert moved("%p = f32[10]{0} parameter(0)", line, more=more) == times * 80


def test_libtpus_estimates_are_read():
    config = 'backend_config={"window_config":{"estimated_cycles":"8103"}}'
    (kernel,) = kernels_of("%p = f32[8]{0} parameter(0)", f"ROOT %n = f32[8]{{0}} negate(%p), {config}")
    assert kernel.cycles == 8103


def test_collectives_are_found_inside_of_fusions_and_loops():
    program = hlo.Program("""
%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%fused (q: f32[3]) -> f32[3] {
  %q = f32[3]{0:T(128)} parameter(0)
  ROOT %r = f32[3]{0:T(128)} all-reduce(%q), to_apply=%sum
}

%turn (q: f32[3]) -> f32[3] {
  %q = f32[3]{0} parameter(0)
  ROOT %f = f32[3]{0} fusion(%q), kind=kCustom, calls=%fused
}

ENTRY %main (p: f32[3]) -> f32[6] {
  %p = f32[3]{0} parameter(0)
  %w = f32[3]{0} while(%p), body=%turn, backend_config={"known_trip_count":{"n":"2"}}
  %both = (f32[3]{0}, f32[6]{0}) all-gather-start(%w), dimensions={0}
  ROOT %whole = f32[6]{0} all-gather-done(%both)
}
""")
    assert hlo.by_kind(program.collectives()) == {
        "all-gather": {"number": 1, "bytes": 12},
        "all-reduce": {"number": 2, "bytes": 24},
    }


def test_a_text_without_a_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY computation"):
        hlo.Program("HloModule empty\n")
