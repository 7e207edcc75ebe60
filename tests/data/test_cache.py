import io
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from mnet_jax.config.resolve import resolve
from mnet_jax.data import cache, decode, stream
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.errors import UserError
from tests.conftest import REPOSITORY

SPLITS = ("train_split", "validation_split")


def smooth(height, width):
    """A picture that JPEG keeps, whatever its size."""
    rows, columns = np.linspace(0, 255, height)[:, None], np.linspace(0, 255, width)[None]
    return np.stack(np.broadcast_arrays(rows, columns, (rows + columns) / 2), axis=-1).astype(np.uint8)


@pytest.fixture
def raw(tiny_imagenet, tmp_path):
    """The folder of train images of the first class, all of them smooth and 60 x 48 pixels."""
    for path in (tmp_path / "raw").rglob("*.JPEG"):
        Image.fromarray(smooth(48, 60)).save(path, "JPEG", quality=95)
    return tmp_path / "raw" / "train" / "n01440764"


@pytest.fixture
def data(tiny_imagenet):
    data = resolve(tiny_imagenet).unlock().data
    data.cache_side = 32
    return data


def test_a_cached_split_has_the_same_examples_shrunk(raw, data):
    cache.check(data, SPLITS)
    cached = cache.open_split(data, "train[8:40]")
    data.cache_side = None
    source = cache.open_split(data, "train[8:40]")
    assert len(cached) == len(source) == 32
    for i in (0, 5, 31):
        assert (cached[i]["label"], cached[i]["file_name"]) == (source[i]["label"], source[i]["file_name"])
        pixels = decode.whole(cached[i]["image"], 3)
        assert pixels.shape == (32, 40, 3)
        assert np.abs(pixels.astype(int) - smooth(32, 40)).max() < 12
    with pytest.raises(IndexError):
        cached[32]


def test_images_are_not_enlarged(raw, data):
    data.cache_side = 100
    cache.check(data, SPLITS)
    assert decode.whole(cache.open_split(data, "train")[0]["image"], 3).shape == (48, 60, 3)


def test_the_folder_says_side_and_quality_and_follows_the_source(raw, data, tmp_path):
    first = cache.folder(data)
    assert first.name.startswith("side32-q90-")
    data.cache_quality = 80
    assert cache.folder(data).name.startswith("side32-q80-")
    data.cache_quality = 90
    (raw / "more.JPEG").write_bytes((raw / "n01440764_0.JPEG").read_bytes())
    data.data_dir = str(tmp_path / "prepared_again")
    assert cache.folder(data).name.rpartition("-")[2] != first.name.rpartition("-")[2]


def test_a_cache_is_filled_where_it_is_not_and_left_alone_where_it_is(raw, data, monkeypatch):
    monkeypatch.setattr(cache, "_SHARD", 20)
    cache.check(data, SPLITS)
    train = sorted(cache.folder(data).glob("train-*"))
    assert [path.name for path in train] == [f"train-{i:05d}-of-00003.array_record" for i in range(3)]
    times = [path.stat().st_mtime_ns for path in train]
    content = train[1].read_bytes()
    train[1].unlink()
    (train[1].parent / f".{train[1].name}.1").touch()
    with pytest.raises(UserError, match=r"the cache lacks .*train-00001-of-00003.*mnet_jax.data.prepare"):
        cache.open_split(data, "train")
    cache.check(data, SPLITS)
    assert [path.stat().st_mtime_ns for path in train[::2]] == times[::2]
    assert train[1].read_bytes() == content
    assert not list(train[1].parent.glob(".train*"))


@pytest.fixture
def damaged(raw):
    """Ten damaged files among 48: cut off, empty, no image at all."""
    paths = sorted(raw.iterdir())[:10]
    for i, path in enumerate(paths):
        path.write_bytes([path.read_bytes()[:200], b"", b"<html>not found</html>"][i % 3])
    return {f"{path.parent.name}/{path.name}" for path in paths}


def batches_of(data, first, last):
    opened = stream.HostStream(cache.open_split(data, "train"), data, 3, make_mesh())
    return opened, list(opened.training_batches(16, first, last)) + list(opened.evaluation_batches(16))


@pytest.mark.parametrize("side", [None, 32])
def test_damaged_images_are_named_and_skipped(damaged, data, caplog, side):
    data.cache_side = side
    with caplog.at_level(logging.WARNING, "mnet_jax"):
        cache.check(data, SPLITS)
        opened, batches = batches_of(data, 0, 6)
    for name in damaged:
        assert name in caplog.text
    assert "skipped damaged image 10: " in caplog.text
    assert "no image (it begins with b'<html>no')" in caplog.text or side
    evaluated = batches[6:]
    assert sum(float(batch["mask"].sum()) for batch in evaluated) == 48 - 10
    assert opened.num_decoded == 6 * 16 + 38
    assert all(np.asarray(batch["image"]).reshape(16, -1).any(axis=1).all() for batch in batches[:6]), "none is blank"


def test_what_takes_the_place_of_a_damaged_image_depends_on_the_step_alone(damaged, data):
    data.cache_side = None
    _, whole = batches_of(data, 0, 6)
    _, resumed = batches_of(data, 4, 6)
    for batch, again in zip(whole[4:6], resumed[:2], strict=True):
        np.testing.assert_array_equal(batch["image"], again["image"])
        np.testing.assert_array_equal(batch["label"], again["label"])


def test_more_damaged_images_than_the_limit_are_an_error_that_names_them(damaged, data):
    data.max_bad_images = 9
    with pytest.raises(UserError, match=r"max_bad_images=9 damaged images: n01440764/n01440764_\d+.JPEG \("):
        cache.check(data, SPLITS)
    data.cache_side = None
    with pytest.raises(UserError, match=r"max_bad_images=9 damaged images: n01440764/"):
        batches_of(data, 0, 6)


def test_grayscale_cmyk_and_png_under_the_name_of_jpeg_decode_rightly():
    picture = smooth(48, 64)
    gray = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)
    for kind, mode, expected in (("JPEG", "RGB", picture), ("JPEG", "CMYK", picture), ("PNG", "RGB", picture)):
        file = io.BytesIO()
        Image.fromarray(picture).convert(mode).save(file, kind)
        for found in (decode.whole(file.getvalue(), 3), decode.at_least(file.getvalue(), 3, 24)):
            assert found.shape in ((48, 64, 3), (24, 32, 3))
        np.testing.assert_allclose(decode.whole(file.getvalue(), 3), expected, atol=12, err_msg=f"{kind} {mode}")
    file = io.BytesIO()
    Image.fromarray(picture).convert("L").save(file, "JPEG")
    np.testing.assert_allclose(decode.whole(file.getvalue(), 3), gray, atol=40)
    assert np.ptp(decode.whole(file.getvalue(), 3), axis=-1).max() == 0


@pytest.mark.slow
def test_the_command_goes_on_after_a_kill(raw, data, tmp_path):
    script = (
        "import time; from mnet_jax import cli; from mnet_jax.data import cache, decode, prepare; cache._SHARD = 4;"
        "slow = decode.at_least; decode.at_least = lambda *a: (time.sleep(0.1), slow(*a))[1]; cli.run(prepare.main)"
    )
    flags = (
        f"--config={REPOSITORY}/configs/width.py:imagenet",
        f"--config.data.source_dir={raw.parent.parent}",
        f"--config.data.data_dir={tmp_path}/tfds",
        "--config.data.cache_side=32",
    )
    process = subprocess.Popen([sys.executable, "-c", script, *flags], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("tfds/*/cache/*/train-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("tfds/*/cache/*/train-*")}
    assert 2 <= len(before) < 12
    done = subprocess.run([sys.executable, "-c", script, *flags], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train: 48 images" in done.stdout
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("tfds/*/cache/*/train-*")}
    assert len(after) == 12
    assert before.items() <= after.items()
