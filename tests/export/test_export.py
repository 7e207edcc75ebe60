"""From a trained trial to a file that others read, by the commands of the documentation."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

import mnet_jax
from mnet_jax import evaluate
from mnet_jax.data import sources
from mnet_jax.errors import UserError
from mnet_jax.train.trained import of_weights
from mnet_jax.workdir import results
from mnet_jax.workdir.files import TrialFolder, Workdir
from tests import foreign_weights
from tests.train.test_trained import trained

onnx = pytest.importorskip("onnx", reason="mnet_jax[export] is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="mnet_jax[export] is not installed")
import mnet_jax.export  # noqa: E402
from mnet_jax.export import verify  # noqa: E402


@pytest.fixture
def digits(tmp_path, small):
    """The folder of a trial with a small network, trained for a moment, of which the stored images are larger."""
    small.input_size = 20
    small.train.epochs = 1.0
    return trained(tmp_path / "work" / "trials" / "digits", small)


def run_onnx(path, images):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"images": images})[0]


def test_onnx_has_the_logits_and_the_names_of_the_classes(digits, tmp_path):
    network = mnet_jax.load(digits.path)
    exported = mnet_jax.export.to_onnx(network, tmp_path / "new" / "folder" / "model.onnx")
    model = onnx.load(exported.path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["class_names"]) == list(network.classes)
    assert exported.bytes == exported.path.stat().st_size
    scores = evaluate.of_trial(digits)
    assert exported.scores.count == scores["count"] == 100
    assert exported.scores.correct == exported.scores.as_evaluated == round(scores["top1"] * 100)
    assert exported.scores.difference < 1e-5
    assert [path.name for path in exported.path.parent.iterdir()] == ["model.onnx"]


def test_with_preprocessing_pixels_go_in_and_probabilities_come_out(digits, tmp_path):
    network = mnet_jax.load(digits.path)
    source = sources.open_split(network.config.data, "test")
    pixels = network.preprocess([source[i]["image"] for i in range(5)])
    assert pixels.shape == (5, 28, 28, 1)
    onnx_file = mnet_jax.export.to_onnx(network, tmp_path / "model.onnx", with_preprocessing=True).path
    np.testing.assert_allclose(run_onnx(onnx_file, pixels), network.predict(pixels), atol=1e-5)
    quantized = mnet_jax.export.to_onnx(
        network, tmp_path / "int8.onnx", with_preprocessing=True, quantize=mnet_jax.export.Calibration(images=64)
    )
    probabilities = run_onnx(quantized.path, pixels)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(probabilities, network.predict(pixels), atol=0.1)


def test_int8_is_calibrated_by_its_seed(digits, tmp_path):
    network = mnet_jax.load(digits.path)

    def content(name, **settings):
        calibration = mnet_jax.export.Calibration(**{"images": 32} | settings)
        exported = mnet_jax.export.to_onnx(network, tmp_path / name, quantize=calibration)
        assert exported.scores.count == 100
        assert {node.op_type for node in onnx.load(exported.path).graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
        return exported.path.read_bytes()

    first = content("a.onnx")
    assert content("b.onnx") == first
    assert content("c.onnx", seed=1) != first
    assert content("d.onnx", per_channel=False) != first


def test_safetensors_hold_the_evaluated_variables(digits, tmp_path):
    network = mnet_jax.load(digits.path)
    path = mnet_jax.export.to_safetensors(network, tmp_path / "model.safetensors").path
    flat = traverse_util.flatten_dict(network.variables, sep="/")
    found = safetensors.numpy.load_file(path)
    assert found.keys() == flat.keys()
    for name, value in flat.items():
        np.testing.assert_array_equal(found[name], value)
    with safetensors.safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["config"])["input_size"] == 20


def test_stablehlo_says_why_a_network_cannot_be_of_any_batch(digits, tmp_path):
    with pytest.raises(UserError, match=r"^StableHLO: the network needs to know the number of images, as by len\(x\)"):
        mnet_jax.export.to_stablehlo(mnet_jax.load(digits.path), tmp_path / "model.stablehlo")


@pytest.mark.slow
def test_stablehlo_is_read_without_this_package(tiny, tmp_path):
    tiny.train.epochs = 0.5
    folder = trained(tmp_path / "work" / "trials" / "digits", tiny)
    network = mnet_jax.load(folder.path)
    path = mnet_jax.export.to_stablehlo(network, tmp_path / "model.stablehlo", with_preprocessing=True).path
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    code = f"""
import sys, pathlib, numpy as np
sys.modules["mnet_jax"] = sys.modules["flax"] = None  # cannot be imported
import jax.export
call = jax.export.deserialize(bytearray(pathlib.Path({str(path)!r}).read_bytes())).call
np.save({str(tmp_path / "found.npy")!r}, call(np.load({str(tmp_path / "images.npy")!r})))
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), network.predict(images), atol=1e-5)
    assert jax.export.deserialize(bytearray(path.read_bytes())).platforms == ("cpu", "cuda", "tpu")


def test_what_computes_something_else_is_not_kept(digits, tmp_path, monkeypatch):
    network = mnet_jax.load(digits.path)
    monkeypatch.setattr(verify, "TOLERANCE", 1e-12)
    with pytest.raises(UserError, match=r"model.onnx: its outputs differ from those of the trial by .*it was not kept"):
        mnet_jax.export.to_onnx(network, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("model*"))


def test_an_export_that_says_nothing_is_not_taken_for_sound(digits):
    network = mnet_jax.load(digits.path)
    program = mnet_jax.export.formats.network_of(network)
    scores = verify.compare(lambda x: np.full((len(x), 10), np.nan, np.float32), network, program)
    assert scores.correct == 0
    with pytest.raises(UserError, match="outputs differ from those of the trial by nan"):
        verify.check(scores, "model.onnx")


def test_a_folder_is_no_file(digits, tmp_path):
    with pytest.raises(UserError, match="it is a folder, not a file"):
        mnet_jax.export.to_onnx(mnet_jax.load(digits.path), tmp_path)


def test_a_folder_that_cannot_be_written_is_named(digits, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file/model.onnx"):
        mnet_jax.export.to_onnx(mnet_jax.load(digits.path), tmp_path / "file" / "model.onnx")


def test_a_missing_library_says_what_to_install(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r'^ONNX needs onnx: pip install -e "\.\[export\]"$'):
        mnet_jax.export.to_onnx(mnet_jax.load(digits.path), tmp_path / "model.onnx")


@pytest.mark.slow
def test_weights_of_others_are_exported_as_their_source_prepares_images(tmp_path, tiny_imagenet):
    _, variables = foreign_weights.make(num_classes=3, alpha=0.25, padding="keras_v1")
    path = foreign_weights.write_keras(tmp_path / "w.h5", variables)
    tiny_imagenet.model.update(total_stride=32, dtype="float32")
    tiny_imagenet.input_size = 33
    network = of_weights(tiny_imagenet, path)
    exported = mnet_jax.export.to_onnx(network, tmp_path / "model.onnx", with_preprocessing=True)
    scores = evaluate.of_weights(tiny_imagenet, path)
    assert exported.scores.correct == round(scores["top1"] * scores["count"])
    assert exported.scores.count == scores["count"] == 48


@pytest.mark.slow
def test_a_sweep_is_exported_by_the_commands(tmp_path, command):
    """Top-1 above 0.9 and distinct logits, so that a network which says one thing to all would be noticed."""
    work = tmp_path / "work"
    axes = ("--config.sweep.model.alpha=(0.25,)", "--config.sweep.seed=(0,)")
    done = command("mnet_jax.sweep", "--config", "configs/width.py", *axes, "--workdir", work)
    assert done.returncode == 0, done.stderr
    (folder,) = (Workdir(work).trial(name) for name in Workdir(work).trial_names())
    for flags in (["onnx"], ["onnx", "--quantize", "int8"], ["stablehlo"], ["safetensors"]):
        done = command("mnet_jax.export", "--workdir", work, "--format", *flags)
        assert done.returncode == 0, done.stderr
        assert f"{folder.path}/export/model." in done.stdout
    exports = TrialFolder(folder.path).exports()
    assert exports.keys() == {"onnx", "int8.onnx", "stablehlo", "safetensors"}
    top1 = folder.result()["top1"]
    assert top1 > 0.9
    for name, measured in exports.items():
        assert measured["top1"] == pytest.approx(top1, abs=0 if name != "int8.onnx" else 0.03)
        assert measured["bytes"] == (folder.path / "export" / f"model.{name}").stat().st_size
    assert exports["int8.onnx"]["bytes"] < 0.5 * exports["onnx"]["bytes"]
    images = np.random.default_rng(0).normal(size=(8, 28, 28, 1)).astype(np.float32)
    size = mnet_jax.load(folder.path).config.input_size
    logits = run_onnx(folder.path / "export" / "model.onnx", images[:, :size, :size])
    assert len({tuple(row) for row in logits.round(3)}) == 8
    (row,) = results.results(work)
    assert (row["top1_int8"], row["bytes_int8"]) == (exports["int8.onnx"]["top1"], exports["int8.onnx"]["bytes"])
    assert row["bytes_float32"] == exports["onnx"]["bytes"]
