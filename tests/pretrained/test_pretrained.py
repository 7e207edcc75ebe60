import hashlib
import json
import math
import pickle
import sys

import h5py
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.pretrained import files, recipes
from mnet_jax.train.inputs import settle
from tests import foreign_weights


def load(path, model, channels=3, **options):
    return recipes.load(str(path), model, recipes.abstract_variables(model, channels), **options)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v3_small", "mobilenet_v3_large_minimalistic"])
def test_every_variable_of_a_keras_file_arrives_unchanged(name, tmp_path):
    model, variables = foreign_weights.make(name, alpha=0.5)
    foreign_weights.assert_equal(load(foreign_weights.write_keras(tmp_path / "w.h5", variables), model), variables)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small"])
def test_every_variable_of_a_state_dict_arrives_unchanged(name, tmp_path):
    model, variables = foreign_weights.make(name, alpha=0.5)
    path = foreign_weights.write_torchvision(tmp_path / "w.safetensors", variables)
    foreign_weights.assert_equal(load(path, model), variables)
    path = foreign_weights.write_timm(tmp_path / "t.safetensors", model, variables)
    foreign_weights.assert_equal(load(path, model), variables)


def test_other_alphas_are_refused_and_the_right_one_is_named(tmp_path):
    _, variables = foreign_weights.make(alpha=0.5)
    path = foreign_weights.write_keras(tmp_path / "w.h5", variables)
    message = r"alpha 1.0 and 10 classes: stem_conv/kernel gives params/stem/conv/kernel the shape \(3, 3, 3, 16\), "
    message += r"expected \(3, 3, 3, 32\); it fits --config.model.alpha=0.5$"
    with pytest.raises(UserError, match=message):
        load(path, registry.MODELS["mobilenet_v1"](num_classes=10))


def test_another_model_is_refused_and_the_right_one_is_named(tmp_path):
    _, variables = foreign_weights.make("mobilenet_v3_small")
    path = foreign_weights.write_torchvision(tmp_path / "w.safetensors", variables)
    with pytest.raises(UserError, match=r"do not fit mobilenet_v2 .*; it fits --config.model.name=mobilenet_v3_small"):
        load(path, registry.MODELS["mobilenet_v2"](num_classes=10))


def test_other_channels_are_refused_and_the_right_number_is_named(tmp_path):
    model, variables = foreign_weights.make("mobilenet_v2", alpha=0.35)
    path = foreign_weights.write_torchvision(tmp_path / "w.safetensors", variables)
    with pytest.raises(UserError, match=r"expected \(3, 3, 1, 16\); it fits --config.data.channels=3$"):
        load(path, model, channels=1)


def test_other_classes_are_an_error_or_leave_the_head_fresh(tmp_path):
    _, variables = foreign_weights.make(num_classes=12, alpha=0.25)
    path = foreign_weights.write_keras(tmp_path / "w.h5", variables)
    model = registry.MODELS["mobilenet_v1"](num_classes=10, alpha=0.25)
    with pytest.raises(
        UserError, match=r"the shape \(256, 12\), expected \(256, 10\); it fits --config.model.num_classes=12$"
    ):
        load(path, model)
    own = {key: np.zeros(leaf.shape, np.float32) for key, leaf in shapes(model).items()}
    loaded = traverse_util.flatten_dict(
        recipes.load(path, model, traverse_util.unflatten_dict(own, sep="/"), fresh_head=True), sep="/"
    )
    for key, value in loaded.items():
        np.testing.assert_array_equal(value, own[key] if "logits" in key else variables[key])


def shapes(model, channels=3):
    return traverse_util.flatten_dict(recipes.abstract_variables(model, channels), sep="/")


@pytest.fixture
def torch_file(tmp_path):
    """A state dict of a V2, and how to change it."""
    model, variables = foreign_weights.make("mobilenet_v2", alpha=0.35)
    path = tmp_path / "w.safetensors"
    foreign_weights.write_torchvision(path, variables)

    def change(edit):
        tensors = safetensors.numpy.load_file(path)
        edit(tensors)
        safetensors.numpy.save_file(tensors, path)
        return path

    return model, change


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("features.3.conv.1.1.running_var"), "has no features.3.conv.1.1.running_var, which batch_"),
        (lambda t: t.update(extra=np.zeros(3)), "extra of the file: no place for it"),
        (lambda t: t.update({"features.18.1.bias": np.zeros(7)}), r"features.18.1.bias .* \(7,\), expected \(1280,\)"),
        (lambda t: t["classifier.1.bias"].fill(np.nan), "classifier.1.bias has values that are not finite"),
    ],
)  # fmt: skip
def test_a_tensor_that_is_missing_left_over_or_wrong_is_named(torch_file, edit, message):
    model, change = torch_file
    with pytest.raises(UserError, match=message):
        load(change(edit), model)


def test_a_keras_layer_left_over_or_missing_is_named(tmp_path):
    model, variables = foreign_weights.make(alpha=0.25)
    path = tmp_path / "w.h5"
    foreign_weights.write_keras(path, variables)
    with h5py.File(path, "a") as file:
        names = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names"] = [*names, "extra"]
        file["extra/extra/kernel:0"] = np.zeros((2, 2))
        file["extra"].attrs["weight_names"] = ["extra/kernel:0"]
    with pytest.raises(UserError, match="extra of the file: no place for it"):
        load(path, model)
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names"] = names[:-1]
    with pytest.raises(UserError, match="the file has no layer for classifier/logits"):
        load(path, model)


@pytest.mark.parametrize("cut", [0.3, 0.99])
@pytest.mark.parametrize("kind", ["h5", "safetensors"])
def test_a_cut_off_file_is_damaged(tmp_path, kind, cut):
    model, variables = foreign_weights.make("mobilenet_v2", alpha=0.35)
    path = tmp_path / f"w.{kind}"
    (foreign_weights.write_keras if kind == "h5" else foreign_weights.write_torchvision)(path, variables)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(UserError, match=r"w.*: the file is damaged"):
        load(path, model)


@pytest.mark.parametrize("kind", ["h5", "safetensors"])
def test_random_bytes_in_a_file_are_damage_not_a_crash(tmp_path, kind):
    _, variables = foreign_weights.make("mobilenet_v2", alpha=0.35, num_classes=3)
    path = tmp_path / f"w.{kind}"
    (foreign_weights.write_keras if kind == "h5" else foreign_weights.write_torchvision)(path, variables)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(60):
        broken = bytearray(whole)
        for position in rng.integers(0, 4000, 10):
            broken[position] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            files.read(path)
        except UserError:
            refused += 1
    assert refused > 10


def test_other_files_are_refused(tmp_path):
    model = registry.MODELS["mobilenet_v2"](num_classes=10)
    text, empty, other = tmp_path / "notes.txt", tmp_path / "empty.h5", tmp_path / "other.safetensors"
    text.write_text("these are no weights")
    empty.write_bytes(b"")
    safetensors.numpy.save_file({"layer.weight": np.zeros(3)}, other)
    for path, message in (
        (text, "unknown format"),
        (empty, "unknown format"),
        (other, "no MobileNet of torchvision or timm .* layer.weight"),
        (tmp_path / "absent.h5", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(UserError, match=message):
            load(path, model)


class RunsCode:
    ran = False

    def __reduce__(self):
        return setattr, (RunsCode, "ran", True)


@pytest.mark.parametrize("suffix", ["pth", "h5", "safetensors", "pkl"])
def test_a_pickle_never_runs(tmp_path, suffix):
    """With PyTorch, a .pth is read by its restricted unpickler (`tests/parity`); without, not at all."""
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(pickle.dumps({"features.0.0.weight": RunsCode()}))
    with pytest.raises(UserError, match=r"refused|needs PyTorch|unknown format|damaged"):
        load(path, registry.MODELS["mobilenet_v2"](num_classes=10))
    assert not RunsCode.ran


def test_without_pytorch_the_message_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps({}))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"needs PyTorch \(pip install torch\)"):
        load(path, registry.MODELS["mobilenet_v2"](num_classes=10))


def test_fields_left_open_take_the_recipe_of_the_source(tmp_path, tiny):
    _, variables = foreign_weights.make("mobilenet_v2", channels=1, alpha=0.25)
    tiny.train.init_from = foreign_weights.write_torchvision(tmp_path / "w.safetensors", variables)
    tiny.model.name = "mobilenet_v2"
    tiny.data.mean = (0.4,)
    with pytest.raises(UserError, match=r"config\.data\.std=.*must have 1 or config\.data\.channels=1 values"):
        settle(tiny)
    tiny.data.std = (0.2,)
    resolved = settle(tiny)
    assert (resolved.model.padding, resolved.model.bn_epsilon) == ("symmetric", 1e-5)
    assert (resolved.data.eval_crop, resolved.data.eval_filter) == ("shorter_side", "bilinear")
    assert (resolved.data.mean, resolved.data.std) == ((0.4,), (0.2,)), "what the config sets stays"
    recipes.check(resolved)
    with pytest.raises(UserError, match=r"it fits .*alpha=0.25"):
        recipes.check(settle(tiny, {"model.alpha": 0.5}))


def test_the_hubs_config_beside_a_file_is_followed(tmp_path):
    model, variables = foreign_weights.make("mobilenet_v3_small")
    path = foreign_weights.write_timm(tmp_path / "model.safetensors", model, variables)
    assert recipes.recipe(path, "mobilenet_v3_small")["model.padding"] == "same"
    images = {"mean": [0.1] * 3, "std": [0.2] * 3, "crop_pct": 0.9, "interpolation": "bicubic"}
    hub = {"architecture": "mobilenetv3_small_100", "pretrained_cfg": images}
    (tmp_path / "config.json").write_text(json.dumps(hub))
    recipe = recipes.recipe(path, "mobilenet_v3_small")
    assert (recipe["data.mean"], recipe["data.eval_crop_fraction"], recipe["data.eval_filter"]) == (
        (0.1,) * 3,
        0.9,
        "bicubic",
    )
    assert (recipe["model.padding"], recipe["model.bn_epsilon"]) == ("symmetric", 1e-5)
    for broken in ({"pretrained_cfg": images}, {"pretrained_cfg": None}, hub | {"pretrained_cfg": {"mean": 1}}):
        (tmp_path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(UserError, match=r"config.json: not as timm's hub writes it"):
            recipes.recipe(path, "mobilenet_v3_small")
    (tmp_path / "config.json").write_text(json.dumps(hub)[:50])
    with pytest.raises(UserError, match=r"config.json: cannot be read \("):
        recipes.recipe(path, "mobilenet_v3_small")
    for foreign in ("{}", "[]", '{"model": {"name": "mobilenet_v1"}}'):
        (tmp_path / "config.json").write_text(foreign)
        assert recipes.recipe(path, "mobilenet_v3_small")["model.padding"] == "same"


@pytest.mark.parametrize(("name", "side"), [("mobilenet_v2-b0353104.pth", 256), ("mobilenet_v2-7ebf99e0.pth", 232)])
def test_a_set_of_torchvisions_weights_is_told_by_its_name(name, side, capsys):
    recipe = recipes._recipe("torchvision", name, "mobilenet_v2")
    assert math.floor(224 / recipe["data.eval_crop_fraction"]) == side
    assert not capsys.readouterr().err


def test_a_set_of_torchvisions_weights_is_told_by_its_content(tmp_path, monkeypatch, capsys):
    _, variables = foreign_weights.make("mobilenet_v2", alpha=0.25)
    path = foreign_weights.write_torchvision(tmp_path / "mine.safetensors", variables)
    assert recipes.recipe(path, "mobilenet_v2")["data.eval_crop_fraction"] == 0.875
    said = capsys.readouterr().err
    assert f"weights {path}: is no file that torchvision publishes" in said
    assert f"--config.data.eval_crop_fraction={224 / 232}" in said
    digest = hashlib.sha256((tmp_path / "mine.safetensors").read_bytes()).hexdigest()[:8]
    recipes._shorter_side.cache_clear()
    monkeypatch.setitem(recipes._SHORTER_SIDES, digest, 232)
    assert recipes.recipe(path, "mobilenet_v2")["data.eval_crop_fraction"] == 224 / 232
    assert not capsys.readouterr().err


def test_timms_wider_v1_is_evaluated_at_a_crop_of_its_own(tmp_path):
    for alpha, fraction in ((1.0, 0.875), (1.25, 0.9)):
        model, variables = foreign_weights.make("mobilenet_v1", alpha=alpha)
        path = foreign_weights.write_timm(tmp_path / f"{alpha}.safetensors", model, variables)
        assert recipes.recipe(path, "mobilenet_v1")["data.eval_crop_fraction"] == fraction


@pytest.mark.parametrize("word", ["module.", "_orig_mod.", "model.", "_orig_mod.module."])
def test_what_a_wrapper_put_before_every_name_is_taken_away(torch_file, word):
    model, change = torch_file
    expected = load(change(lambda tensors: None), model)

    def wrap(tensors):
        for name in list(tensors):
            tensors[word + name] = tensors.pop(name)

    foreign_weights.assert_equal(load(change(wrap), model), traverse_util.flatten_dict(expected, sep="/"))


def test_only_a_training_checkpoint_has_parts(torch_file):
    model, change = torch_file
    with pytest.raises(UserError, match=r"w\.safetensors:ema: only a training checkpoint of PyTorch's has parts"):
        load(f"{change(lambda tensors: None)}:ema", model)
    with pytest.raises(UserError, match=r"weights absent: No such file"):
        load("absent:ema", model)


def _fine_tuned(path, model):
    own = {key: np.zeros(leaf.shape, np.float32) for key, leaf in shapes(model).items()}
    loaded = recipes.load(path, model, traverse_util.unflatten_dict(own, sep="/"), fresh_head=True)
    return traverse_util.flatten_dict(loaded, sep="/")


@pytest.mark.parametrize(("name", "head"), [("mobilenet_v1", "logits"), ("mobilenet_v3_small", "classifier")])
def test_a_keras_file_without_its_top_starts_a_fine_tuning(tmp_path, name, head):
    """`*_no_top.h5`; V3's has neither the last layer nor the hidden one before it."""
    model, variables = foreign_weights.make(name, alpha=0.5)
    body = {key: value for key, value in variables.items() if head not in key}
    path = foreign_weights.write_keras(tmp_path / "w_no_top.h5", body)
    for key, value in _fine_tuned(path, model).items():
        np.testing.assert_array_equal(value, body.get(key, np.zeros_like(value)), err_msg=key)
    with pytest.raises(UserError, match="the file has no layer for classifier/"):
        load(path, model)


def test_a_state_dict_without_its_head_starts_a_fine_tuning(torch_file):
    model, change = torch_file
    whole = traverse_util.flatten_dict(load(change(lambda tensors: None), model), sep="/")
    path = change(lambda tensors: [tensors.pop(f"classifier.1.{name}") for name in ("weight", "bias")])
    for key, value in _fine_tuned(path, model).items():
        np.testing.assert_array_equal(value, np.zeros_like(value) if "logits" in key else whole[key], err_msg=key)
    with pytest.raises(UserError, match=r"the file has no classifier\.1\.weight"):
        load(path, model)
    path = change(lambda tensors: tensors.pop("features.18.1.bias"))
    with pytest.raises(UserError, match=r"the file has no features\.18\.1\.bias"):
        _fine_tuned(path, model)
