import logging
import pathlib
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax.errors import UserError
from mnet_jax.train.checkpoint import Checkpoints

CLOCK = {"images": 64, "train_seconds": 1.5, "wall_seconds": 2.25}


def state(value):
    return {"params": {"kernel": jnp.full((2, 3), value)}, "step": jnp.int32(value), "empty": None}


def abstract():
    return jax.eval_shape(lambda: state(0.0))


def saved(path, *steps):
    checkpoints = Checkpoints(path)
    for step in steps:
        checkpoints.save(step, state(step / 3), CLOCK | {"images": step})
    checkpoints.close()
    return path


def restored_step(path, **options):
    """The step of the checkpoint that is taken, once its content was compared."""
    checkpoints = Checkpoints(path, **options)
    found = checkpoints.restore(abstract())
    checkpoints.close()
    if found is None:
        return None
    step = found[1]["images"]
    jax.tree.map(np.testing.assert_array_equal, found[0], state(step / 3))
    assert found[1] == CLOCK | {"images": step}
    return step


def test_the_latest_state_comes_back_bit_for_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.latest_step() is None
    assert checkpoints.restore(abstract()) is None
    checkpoints.close()
    saved(tmp_path / "checkpoints", 3, 7, 9)
    assert restored_step(tmp_path / "checkpoints") == 9
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["7", "9"]


def test_a_saved_state_is_a_copy(tmp_path):
    """The next training step is given the buffers (donation) while the checkpoint is still being written."""
    checkpoints = Checkpoints(tmp_path)
    value = jnp.full((1000, 1000), 1.0)
    checkpoints.save(1, {"x": value}, CLOCK)
    jax.jit(lambda x: x * 0 - 1, donate_argnums=0)(value).block_until_ready()
    checkpoints.close()
    restored, _ = Checkpoints(tmp_path).restore({"x": jax.ShapeDtypeStruct((1000, 1000), jnp.float32)})
    np.testing.assert_array_equal(restored["x"], 1.0)


def test_saving_a_step_again_keeps_the_first(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, state(1.0), CLOCK)
    checkpoints.save(5, state(2.0), CLOCK)
    restored, _ = checkpoints.restore(abstract())
    assert float(restored["params"]["kernel"][0, 0]) == 1.0
    checkpoints.close()


def test_saving_a_step_anew_replaces_it_and_its_checksums(tmp_path):
    saved(tmp_path, 3, 5)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, state(2.0), CLOCK, anew=True)
    checkpoints.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "5"]
    restored, clock = Checkpoints(tmp_path).restore(abstract())
    assert float(restored["params"]["kernel"][0, 0]) == 2.0
    assert clock == CLOCK


def harm(path: pathlib.Path, kind, moment):
    """Damages one file of a checkpoint, at a random place."""
    content = bytearray(path.read_bytes())
    if kind == "deleted":
        path.unlink()
    elif kind == "a folder":
        path.unlink()
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(content[: moment.randrange(len(content))] if content else b"")
    else:
        for _ in range(3):
            content[moment.randrange(len(content))] ^= 1 << moment.randrange(8)
        path.write_bytes(content)


FILES = ["clock/metadata", "state/_METADATA", "state/manifest.ocdbt", "state/d/*"]


@pytest.mark.parametrize("kind", ["deleted", "a folder", "empty", "cut", "flipped"])
@pytest.mark.parametrize("name", [*FILES, "_CHECKPOINT_METADATA", "checksums.json"])
def test_whatever_happens_to_a_file_the_state_before_comes_back(tmp_path, name, kind, caplog):
    folder = saved(tmp_path / "trial" / "checkpoints", 7, 9)
    moment = random.Random(f"{name} {kind}")
    harmed = moment.choice(sorted((folder / "9").glob(name)))
    harm(harmed, kind, moment)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    is_needed = name != "_CHECKPOINT_METADATA" and (name, kind) != ("checksums.json", "deleted")
    expected = 7 if is_needed else 9
    assert restored_step(folder, read_only=True) == expected
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before, "it was only read"
    assert restored_step(folder) == expected
    if expected == 7:
        assert f"trial: {folder / '9'} is damaged and passed over: {harmed.relative_to(folder / '9')}" in caplog.text
        assert f"trial: {folder / '9'} is damaged and now named 9.damaged: " in caplog.text
        assert {path.name for path in folder.iterdir()} == {"7", "9.damaged"}
    saved(folder, 9)
    assert restored_step(folder) == 9


def test_where_none_is_sound_there_is_none(tmp_path):
    folder = saved(tmp_path / "checkpoints", 7, 9)
    for step in ("7", "9"):
        (folder / step / "state" / "_METADATA").unlink()
    assert restored_step(folder) is None
    assert restored_step(folder, read_only=True) is None
    assert sorted(path.name for path in folder.iterdir()) == ["7.damaged", "9.damaged"]


def test_who_only_reads_leaves_everything_as_it_is_and_is_told_nothing(tmp_path, caplog):
    assert Checkpoints(tmp_path / "none", read_only=True).latest_step() is None
    assert Checkpoints(tmp_path / "none", read_only=True).restore(abstract()) is None
    folder = saved(tmp_path / "checkpoints", 7, 9)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    caplog.clear()
    assert restored_step(folder, read_only=True) == 9
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert not (tmp_path / "none").exists()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("error", [MemoryError("no more"), OSError(24, "Too many open files"), RuntimeError("x")])
def test_a_sound_checkpoint_survives_whatever_keeps_it_from_being_read(tmp_path, monkeypatch, error):
    folder = saved(tmp_path / "checkpoints", 7, 9)
    checkpoints = Checkpoints(folder)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(checkpoints._manager, "restore", fail)
    with pytest.raises(type(error)):
        checkpoints.restore(abstract())
    checkpoints.close()
    assert restored_step(folder) == 9


def test_files_where_folders_belong_are_moved_out_of_the_way(tmp_path):
    (tmp_path / "trial").mkdir()
    folder = tmp_path / "trial" / "checkpoints"
    folder.write_text("no folder")
    saved(folder, 7)
    (folder / "9").write_text("no folder")
    saved(folder, 9)
    assert restored_step(folder) == 9
    (folder / "12").mkdir()
    assert restored_step(folder) == 9
    assert {path.name for path in folder.iterdir()} == {"7", "9", "9.damaged", "12.damaged"}
    assert (tmp_path / "trial" / "checkpoints.damaged").read_text() == "no folder"


def test_a_checkpoint_of_another_network_is_an_error_that_names_both_and_stays(tmp_path):
    folder = saved(tmp_path / "checkpoints", 7, 9)
    other = abstract() | {"params": {"kernel": jax.ShapeDtypeStruct((2, 4), jnp.float32)}}
    expected = r"9 is of another network: params/kernel is float32\[2, 3\] there and float32\[2, 4\] here \(.*: 1\)"
    with pytest.raises(UserError, match=expected):
        Checkpoints(folder).restore(other)
    more = abstract() | {"head": jax.ShapeDtypeStruct((), jnp.int32)}
    with pytest.raises(UserError, match=r"head is missing there and int32\[\] here"):
        Checkpoints(folder).restore(more)
    assert restored_step(folder) == 9


def test_checkpoints_without_checksums_are_read_while_they_can_be(tmp_path):
    """Earlier versions wrote none."""
    folder = saved(tmp_path / "checkpoints", 7, 9)
    for step in ("7", "9"):
        (folder / step / "checksums.json").unlink()
    assert restored_step(folder) == 9
    (folder / "9" / "clock" / "metadata").write_text("{")
    assert restored_step(folder) == 7
