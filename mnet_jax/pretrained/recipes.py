"""Weights that Keras Applications, torchvision and timm trained, as variables of our networks.

Every tensor of a file has a place and every variable has a tensor; whatever is left over, missing or of another shape
is an error that names it. What a network must do alike (padding, epsilon) and how its images were prepared is the
recipe of the source; sources: keras.applications (preprocess_input; TF-slim's Inception preprocessing, with which the
checkpoints were trained), torchvision.models (`ImageClassification` presets), timm (`default_cfgs`).
"""

import contextlib
import functools
import hashlib
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.models.deeplab import DeepLab
from mnet_jax.pretrained import files
from mnet_jax.pretrained.files import KerasLayers, StateDict
from mnet_jax.pretrained.names import HEAD, Mismatch, Tensors, match

_ALPHAS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.1, 1.2, 1.25, 1.3, 1.4, 1.5)

_SHORTER_SIDES = {  # to which torchvision resizes for a crop of 224, by the SHA-256 of a file that it publishes
    "b0353104": 256,  # V2
    "7ebf99e0": 232,
    "8738ca79": 256,  # V3 large
    "5c1a4163": 232,
    "047dcff4": 256,  # V3 small
}
_TIMM_V1_125_STEM = 40  # channels; of the one set of weights of V1 that timm evaluates at another crop

_INCEPTION = {"data.mean": (0.5,), "data.std": (0.5,)}
_IMAGENET = {"data.mean": (0.485, 0.456, 0.406), "data.std": (0.229, 0.224, 0.225)}

Variables = dict[str, Any]


def recipe(path: str, model_name: str) -> dict[str, Any]:
    """What the source of a weight file does, by dotted config key: padding, epsilon, and preparation of the images.

    A `config.json` beside a timm file, as the hub has it, is followed where it differs from timm's usual values. Which
    of torchvision's sets of weights a file is, its name tells or else its SHA-256; where neither does, a warning names
    the crops that there are.

    Raises:
      UserError: the file cannot be read, or is of none of the sources.
    """
    model_name = model_name.removeprefix("deeplab_")
    content = files.read(path)
    source = _source(path, content)
    channels = content["conv_stem.weight"].shape[0] if source == "timm" else None
    return _recipe(source, path, model_name, channels)


def load(path: str, model: nn.Module, variables: Variables, fresh_head: bool = False) -> Variables:
    """The variables of `model` with the values of a weight file.

    Args:
      path: of the file.
      model: a network of `registry.MODELS`. The file of a `DeepLab` is that of the classification network below its
        head, which stays as it is.
      variables: of the model, as arrays or as shapes.
      fresh_head: leave the last dense layer as it is in `variables` where the file's has another number of classes, or
        where the file has none; then also the hidden one before it, if the file lacks both.

    Returns:
      {"params", "batch_stats"}, float32.

    Raises:
      UserError: the file cannot be read, or a tensor is left over, missing, not finite, or of another shape.
    """
    if isinstance(model, DeepLab):
        return _below_the_head(path, model, variables)
    content = files.read(path)
    source = _source(path, content)
    shapes = traverse_util.flatten_dict(variables, sep="/")
    try:
        found = (_match_with_or_without_head if fresh_head else match)(content, source, model, shapes)
        if fresh_head:
            found = {key: value for key, value in found.items() if HEAD not in key or _fits(value, shapes[key])}
        _check(found, shapes)
    except Mismatch as error:
        hint = _what_fits(content, source, model, shapes["params/stem/conv/kernel"].shape[2])
        raise UserError(f"weights {path} do not fit {_describe(model)}: {error}{hint}") from error
    arrays = {key: found[key][1].astype(np.float32) if key in found else shapes[key] for key in shapes}
    return traverse_util.unflatten_dict(arrays, sep="/")


def _below_the_head(path: str, model: DeepLab, variables: Variables) -> Variables:
    """As `load`, of the layers that a classification network has, too."""
    shapes = traverse_util.flatten_dict(variables, sep="/")
    classifier = model.CLASSIFIER(model.num_classes, alpha=model.alpha)
    channels = shapes["params/stem/conv/kernel"].shape[2]
    found = load(path, classifier, abstract_variables(classifier, channels), fresh_head=True)
    known = traverse_util.flatten_dict(found, sep="/")
    return traverse_util.unflatten_dict({key: known.get(key, value) for key, value in shapes.items()}, sep="/")


def _match_with_or_without_head(
    content: KerasLayers | StateDict, source: str, model: nn.Module, shapes: Mapping[str, Any]
) -> Tensors:
    """As `names.match`; what a file lacks without its head (`*_no_top.h5`) is no mismatch."""
    try:
        return match(content, source, model, shapes)
    except Mismatch:
        for head in ((HEAD,), ("classifier/hidden", HEAD)):
            with contextlib.suppress(Mismatch):
                return match(content, source, model, shapes, without=head)
        raise


def check(config) -> None:
    """Looks whether the weights that a resolved config starts from fit its network; without training, all of them.

    Raises:
      UserError: as `load`.
    """
    if config.train.init_from is not None:
        model = registry.build(config.model)
        variables = abstract_variables(model, config.data.channels)
        load(config.train.init_from, model, variables, fresh_head=config.train.epochs > 0)


def _source(path: str, content: KerasLayers | StateDict) -> str:
    if isinstance(content, KerasLayers):
        return "keras"
    for name, tensor in (("torchvision", "features.0.0.weight"), ("timm", "conv_stem.weight")):
        if tensor in content:
            return name
    raise UserError(
        f"weights {path}: no MobileNet of torchvision or timm (neither has features.0.0.weight nor conv_stem.weight); "
        f"the first tensors are {', '.join(sorted(content)[:3]) or 'none'}"
    )


def _recipe(source: str, path: str, model_name: str, stem_channels: int | None = None) -> dict[str, Any]:
    is_v1, is_v2 = model_name == "mobilenet_v1", model_name == "mobilenet_v2"
    central = {"data.eval_crop": "central", "data.eval_crop_fraction": 0.875, "data.eval_filter": "tf_bilinear"}
    shorter_side = {"data.eval_crop": "shorter_side", "data.eval_crop_fraction": 0.875, "data.eval_filter": "bilinear"}
    tensorflow = {"model.padding": "same", "model.bn_epsilon": 1e-3}
    torch = {"model.padding": "symmetric", "model.bn_epsilon": 1e-5}
    if source == "keras":
        return tensorflow | central | _INCEPTION | ({"model.padding": "keras_v1"} if is_v1 else {})
    if source == "torchvision":
        crop = {"data.eval_crop_fraction": 224 / _shorter_side(path, model_name)}
        return torch | shorter_side | crop | _IMAGENET | ({} if is_v2 else {"model.bn_epsilon": 1e-3})
    if is_v1 or is_v2:
        usual = torch | shorter_side | {"data.eval_filter": "bicubic"} | (_INCEPTION if is_v1 else _IMAGENET)
        if is_v1 and stem_channels == _TIMM_V1_125_STEM:
            usual["data.eval_crop_fraction"] = 0.9
    else:
        usual = tensorflow | shorter_side | _INCEPTION  # the tf_ models: ported from TF-slim
    return usual | _from_hub(files.split(path)[0].with_name("config.json"))


@functools.cache
def _shorter_side(path: str, model_name: str) -> int:
    """In pixels, for a crop of 224, of a file of torchvision's."""
    for digest, side in _SHORTER_SIDES.items():
        if files.split(path)[0].stem.endswith(f"-{digest}"):
            return side
    with contextlib.suppress(OSError), files.split(path)[0].open("rb") as file:
        if side := _SHORTER_SIDES.get(hashlib.file_digest(file, "sha256").hexdigest()[:8]):
            return side
    if model_name != "mobilenet_v3_small":
        print(
            f"weights {path}: is no file that torchvision publishes; images are resized to 256 and cropped to 224 as "
            f"for its first weights of {model_name}; --config.data.eval_crop_fraction={224 / 232} is for its second",
            file=sys.stderr,
        )
    return 256


def _from_hub(path: pathlib.Path) -> dict[str, Any]:
    """The recipe that timm's hub keeps beside a file; a `config.json` of anything else says nothing."""
    try:
        hub = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); it would say how the images were prepared") from error
    if not isinstance(hub, dict) or "pretrained_cfg" not in hub:
        return {}
    try:
        images = hub["pretrained_cfg"]
        changed = {
            "data.mean": tuple(map(float, images["mean"])),
            "data.std": tuple(map(float, images["std"])),
            "data.eval_crop_fraction": float(images["crop_pct"]),
            "data.eval_filter": str(images["interpolation"]),
        }
        if not hub["architecture"].startswith("tf_"):
            changed |= {"model.padding": "symmetric", "model.bn_epsilon": 1e-5}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not as timm's hub writes it ({type(error).__name__}: {error})") from error
    return changed


def _check(found: Tensors, shapes: Mapping[str, Any]) -> None:
    for path, tensor in found.items():
        name, value = tensor
        if not _fits(tensor, shapes[path]):
            raise Mismatch(f"{name} gives {path} the shape {value.shape}, expected {tuple(shapes[path].shape)}")
        if not np.isfinite(value).all():
            raise Mismatch(f"{name} has values that are not finite; the file is damaged")


def _fits(tensor: tuple[str, np.ndarray], expected) -> bool:
    return tensor[1].shape == tuple(expected.shape)


def _what_fits(content, source: str, model: nn.Module, channels: int) -> str:
    """A hint at the alpha, classes and channels, or else the model, that the file fits; empty where there is none."""
    same = [model.clone(alpha=alpha) for alpha in (model.alpha, *_ALPHAS)]
    others = [
        registry.MODELS[name](num_classes=model.num_classes, alpha=model.alpha) for name in registry.classifiers()
    ]
    for candidate in same if _names_fit(content, source, model) else others:
        if not _names_fit(content, source, candidate):
            continue
        found = match(content, source, candidate, _flat_shapes(candidate, channels))
        classes, own_channels = found[f"params/{HEAD}/bias"][1].size, found["params/stem/conv/kernel"][1].shape[2]
        shapes = _flat_shapes(candidate.clone(num_classes=classes), own_channels)
        if all(_fits(value, shapes[path]) for path, value in found.items()):
            wanted = {"model.name": _name(candidate), "model.alpha": candidate.alpha, "model.num_classes": classes}
            given = {"model.name": _name(model), "model.alpha": model.alpha, "model.num_classes": model.num_classes}
            wanted, given = wanted | {"data.channels": own_channels}, given | {"data.channels": channels}
            return "; it fits " + " ".join(f"--config.{k}={v}" for k, v in wanted.items() if v != given[k])
    return ""


def _names_fit(content, source: str, model: nn.Module) -> bool:
    try:
        match(content, source, model, _flat_shapes(model, 3))
    except Mismatch:
        return False
    return True


@functools.lru_cache
def _flat_shapes(model: nn.Module, channels: int) -> dict[str, Any]:
    return traverse_util.flatten_dict(abstract_variables(model, channels), sep="/")


def abstract_variables(model: nn.Module, channels: int) -> Variables:
    """The shapes of a network's variables."""
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, channels))))


def _describe(model: nn.Module) -> str:
    return f"{_name(model)} with alpha {model.alpha} and {model.num_classes} classes"


def _name(model: nn.Module) -> str:
    return next(name for name, kind in registry.MODELS.items() if type(model) is kind)
