import argparse
import io
import math

import jax
import numpy as np
import optax
import pytest
from flax import traverse_util
from ml_collections import ConfigDict
from PIL import Image

from mnet_jax.data import decode
from mnet_jax.errors import UserError
from mnet_jax.pretrained import names, recipes
from tests.parity.conftest import assert_parity, images, kernel, our_logits, statistics

safetensors_torch = pytest.importorskip("safetensors.torch")
torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")

CLASSES = 11
SIZES = (64, 75)
TOLERANCE = 1e-6  # float64 with float32 logits

TORCHVISION = [
    ("mobilenet_v2", {"alpha": 0.5}, {"width_mult": 0.5}),
    ("mobilenet_v2", {}, {}),
    ("mobilenet_v3_large", {}, {}),
    ("mobilenet_v3_small", {}, {}),
]

TIMM = {
    "mobilenetv1_100": ("mobilenet_v1", {}),
    "mobilenetv1_100h": ("mobilenet_v1", {"last_features": 1024}),
    "mobilenetv1_125": ("mobilenet_v1", {"alpha": 1.25}),
    "mobilenetv2_035": ("mobilenet_v2", {"alpha": 0.35}),
    "mobilenetv2_050": ("mobilenet_v2", {"alpha": 0.5}),
    "mobilenetv2_075": ("mobilenet_v2", {"alpha": 0.75}),
    "mobilenetv2_100": ("mobilenet_v2", {}),
    "mobilenetv2_110d": ("mobilenet_v2", {"alpha": 1.1, "depth_multiplier": 1.2, "scale_ends": False}),
    "mobilenetv2_120d": ("mobilenet_v2", {"alpha": 1.2, "depth_multiplier": 1.4, "scale_ends": False}),
    "mobilenetv2_140": ("mobilenet_v2", {"alpha": 1.4}),
    "tf_mobilenetv3_large_075": ("mobilenet_v3_large", {"alpha": 0.75}),
    "tf_mobilenetv3_large_100": ("mobilenet_v3_large", {}),
    "tf_mobilenetv3_large_minimal_100": ("mobilenet_v3_large_minimalistic", {}),
    "tf_mobilenetv3_small_075": ("mobilenet_v3_small", {"alpha": 0.75}),
    "tf_mobilenetv3_small_100": ("mobilenet_v3_small", {}),
    "tf_mobilenetv3_small_minimal_100": ("mobilenet_v3_small_minimalistic", {}),
}


def randomize(model):
    """Random kernels and statistics."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            shape = tuple(module.weight.shape)
            module.weight.data.copy_(torch.from_numpy(kernel(shape, math.prod(shape[1:]))))
        if isinstance(module, torch.nn.BatchNorm2d):
            for name in ("weight", "bias", "running_mean", "running_var"):
                value = torch.from_numpy(statistics(name, tuple(getattr(module, name).shape)))
                getattr(module, name).data.copy_(value)
    return model.eval()


def torchvision_model(name, **options):
    return randomize(torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options))


def logits(model, x):
    with torch.no_grad():
        return model.double()(torch.from_numpy(x.transpose(0, 3, 1, 2)).double()).numpy()


@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize(("name", "fields", "options"), TORCHVISION)
def test_logits_of_torchvision(name, fields, options, side, tmp_path):
    model = torchvision_model(name, **options)
    path = tmp_path / ("model.pth" if side == SIZES[0] else "model.safetensors")
    if path.suffix == ".pth":
        torch.save(model.state_dict(), path)
    else:
        safetensors_torch.save_model(model, path)
    x = images(side)
    assert_parity(our_logits(path, x, name=name, num_classes=CLASSES, **fields)[2], logits(model, x), TOLERANCE)


@pytest.mark.parametrize("name", TIMM)
def test_logits_of_timm(name, tmp_path):
    side = SIZES[list(TIMM).index(name) % 2]
    model = randomize(timm.create_model(name, num_classes=CLASSES))
    path = tmp_path / "model.safetensors"
    safetensors_torch.save_model(model, path)
    ours, fields = TIMM[name]
    x = images(side)
    assert_parity(our_logits(path, x, name=ours, num_classes=CLASSES, **fields)[2], logits(model, x), TOLERANCE)


def test_recipes_are_the_libraries_own():
    for name, (ours, _) in TIMM.items():
        theirs = timm.get_pretrained_cfg(name)
        channels = next(timm.create_model(name).parameters()).shape[0]
        recipe = recipes._recipe("timm", "nowhere/model.safetensors", ours, channels)
        repeat = 3 // len(recipe["data.mean"])
        assert (recipe["data.mean"] * repeat, recipe["data.std"] * repeat) == (theirs.mean, theirs.std), name
        assert recipe["data.eval_crop_fraction"] == theirs.crop_pct, name
        assert recipe["data.eval_filter"] == theirs.interpolation, name
        bn = next(m for m in timm.create_model(name).modules() if isinstance(m, torch.nn.BatchNorm2d))
        assert recipe["model.bn_epsilon"] == bn.eps, name
    published = {
        "mobilenet_v2": torchvision.models.MobileNet_V2_Weights,
        "mobilenet_v3_large": torchvision.models.MobileNet_V3_Large_Weights,
        "mobilenet_v3_small": torchvision.models.MobileNet_V3_Small_Weights,
    }
    for name, sets in published.items():
        for weights in sets:
            preset, file = weights.transforms(), weights.url.rpartition("/")[2]
            recipe = recipes._recipe("torchvision", f"downloads/{file}", name)
            assert (list(recipe["data.mean"]), list(recipe["data.std"])) == (preset.mean, preset.std)
            assert recipe["data.eval_crop_fraction"] == preset.crop_size[0] / preset.resize_size[0], file
            assert recipe["data.eval_filter"] == preset.interpolation.value
    for name in ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"):
        bn = next(m for m in torchvision.models.get_model(name).modules() if isinstance(m, torch.nn.BatchNorm2d))
        assert recipes._recipe("torchvision", "nowhere", name)["model.bn_epsilon"] == bn.eps


def test_one_training_step(tmp_path):
    """Loss, gradients and batch statistics of a step in training mode; dropout is off, it is random."""
    model = torchvision_model("mobilenet_v2", dropout=0.0)
    path = tmp_path / "model.safetensors"
    safetensors_torch.save_model(model, path)
    x, labels = np.concatenate([images(64), images(64)]), np.array([3, 1, 4, 1])
    momentum = 0.9  # PyTorch's 0.1 is the share of the new value
    ours, variables, _ = our_logits(
        path, x, name="mobilenet_v2", num_classes=CLASSES, dropout=0.0, bn_momentum=momentum
    )

    @jax.jit
    def step(params):
        def loss_of(params):
            logits, updated = ours.apply(
                {"params": params, "batch_stats": variables["batch_stats"]}, x, train=True, mutable=["batch_stats"]
            )
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updated["batch_stats"]

        return jax.value_and_grad(loss_of, has_aux=True)(params)

    (loss, batch_stats), grads = step(variables["params"])
    counts = {}
    theirs_of = names.torchvision_names(names.in_order(traverse_util.flatten_dict(variables, sep="/")))
    batch_norms = {ours: theirs for ours, theirs in theirs_of.items() if ours.endswith("/bn")}
    for name in batch_norms.values():
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, _: counts.update({module: inputs[0].numel() // inputs[0].shape[1]})
        )
    model.train()
    their_loss = torch.nn.functional.cross_entropy(
        model(torch.from_numpy(x.transpose(0, 3, 1, 2))), torch.from_numpy(labels)
    )
    their_loss.backward()
    assert float(loss) == pytest.approx(float(their_loss.detach()), rel=1e-4)
    their_grad = model.classifier[1].weight.grad.numpy().T
    assert np.abs(grads["classifier"]["logits"]["kernel"] - their_grad).max() <= 1e-3 * np.abs(their_grad).max()
    for ours_name, theirs_name in batch_norms.items():
        theirs, layer = model.get_submodule(theirs_name), ours_name.removesuffix("/bn")
        mean, var = (np.asarray(batch_stats[layer]["bn"][name]) for name in ("mean", "var"))
        old = np.asarray(variables["batch_stats"][layer]["bn"]["var"])
        # PyTorch keeps the unbiased variance: count / (count - 1) times ours, the new value's share of it.
        unbiased = momentum * old + (var - momentum * old) * counts[theirs] / (counts[theirs] - 1)
        scale = np.sqrt(theirs.running_var.numpy())
        assert np.abs((mean - theirs.running_mean.numpy()) / scale).max() < 1e-3, layer
        np.testing.assert_allclose(unbiased, theirs.running_var.numpy(), rtol=5e-3, err_msg=layer)


@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (100, 90)])
@pytest.mark.parametrize(("size", "interpolation"), [(64, "bilinear"), (75, "bicubic")])
def test_the_evaluation_crop_is_timms(shape, size, interpolation):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8))
    file = io.BytesIO()
    picture.save(file, "PNG")
    theirs = timm.data.create_transform(
        size, interpolation=interpolation, crop_pct=0.875, mean=(0.0,) * 3, std=(1.0,) * 3
    )(picture)
    data = ConfigDict({"channels": 3, "image_size": size, "eval_crop": "shorter_side"})
    data.update(eval_crop_fraction=0.875, eval_filter=interpolation)
    ours = decode.evaluation_crop(file.getvalue(), data)
    np.testing.assert_array_equal(ours, np.rint(theirs.numpy().transpose(1, 2, 0) * 255))


def test_the_evaluation_crop_is_torchvisions():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8))
    file = io.BytesIO()
    picture.save(file, "PNG")
    preset = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(value)[:, None, None] for value in (preset.mean, preset.std))
    theirs = (preset(picture) * std + mean).numpy().transpose(1, 2, 0)
    recipe = recipes._recipe("torchvision", "nowhere", "mobilenet_v2")
    data = ConfigDict({"channels": 3, "image_size": 224} | {key.partition(".")[2]: v for key, v in recipe.items()})
    np.testing.assert_array_equal(decode.evaluation_crop(file.getvalue(), data), np.rint(theirs * 255))


class RunsCode:
    ran = False

    def __reduce__(self):
        return setattr, (RunsCode, "ran", True)


def test_a_pickle_with_code_in_it_is_refused(tmp_path):
    model = torchvision_model("mobilenet_v2", width_mult=0.5)
    for name, extra in (("old.pth", {"_use_new_zipfile_serialization": False}), ("new.pth", {})):
        path = tmp_path / name
        torch.save(model.state_dict() | {"extra": RunsCode()}, path, **extra)
        with pytest.raises(UserError, match=r"refused, this is no pickle of tensors alone"):
            our_logits(path, images(64), name="mobilenet_v2", num_classes=CLASSES, alpha=0.5)
    assert not RunsCode.ran


def test_damaged_and_other_pth_files_are_refused(tmp_path):
    model = torchvision_model("mobilenet_v2", width_mult=0.5)
    path = tmp_path / "w.pth"
    torch.save(model.state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="the file is damaged"):
        recipes.recipe(str(path), "mobilenet_v2")
    for content in ({"epoch": 3}, model.state_dict()["features.0.0.weight"], [1, 2]):
        torch.save(content, path)
        with pytest.raises(UserError, match=r"which state dict .* it has none; save model.state_dict\(\)"):
            recipes.recipe(str(path), "mobilenet_v2")


@pytest.mark.parametrize("name", ["last.pth.tar", "LAST.PTH", "last.ckpt", "last"])
def test_a_training_checkpoint_gives_its_weights_or_their_averages(tmp_path, name):
    """As timm, torchvision's references and Lightning write them; the ending says nothing, the content does."""
    model, averaged = (torchvision_model("mobilenet_v2", width_mult=0.35) for _ in range(2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    x = images(64)
    options = {"name": "mobilenet_v2", "num_classes": CLASSES, "alpha": 0.35}
    rest = {"epoch": 3, "arch": "mobilenet_v2", "optimizer": optimizer.state_dict()}
    rest["args"] = argparse.Namespace(model="mobilenet_v2", lr=0.1)
    for key, ema_key, word in (
        ("state_dict", "state_dict_ema", "module."),
        ("model", "model_ema", "_orig_mod.module."),
    ):
        wrapped = {word + name: value for name, value in model.state_dict().items()}
        averages = {"n_averaged": torch.tensor(7)} | {f"module.{k}": v for k, v in averaged.state_dict().items()}
        path = tmp_path / name
        torch.save(rest | {key: wrapped, ema_key: averages}, path)
        assert_parity(our_logits(path, x, **options)[2], logits(model, x), TOLERANCE)
        assert_parity(our_logits(f"{path}:{ema_key}", x, **options)[2], logits(averaged, x), TOLERANCE)
        with pytest.raises(UserError, match=rf"{path}:ema: no such state dict .* it has '{key}', '{ema_key}'"):
            our_logits(f"{path}:ema", x, **options)
    torch.save(rest | {"model_ema": averages}, path)
    with pytest.raises(UserError, match=rf"which state dict .* it has 'model_ema'; say {path}:NAME"):
        our_logits(path, x, **options)
