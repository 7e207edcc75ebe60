"""Weights that Keras Applications, torchvision and timm trained, as variables of our networks.

Every tensor of a file has a place and every variable has a tensor; whatever is left over, missing or of another shape
is an error that names it. What a network must do alike (padding, epsilon) and how its images were prepared is the
recipe of the source; sources: keras.applications (preprocess_input; TF-slim's Inception preprocessing, with which the
checkpoints were trained), torchvision.models (`ImageClassification` presets), timm (`default_cfgs`).
"""

import itertools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from mnet_jax import models, weight_files
from mnet_jax.errors import UserError
from mnet_jax.models import mobilenet_v1, mobilenet_v2
from mnet_jax.models.layers import DEPTHWISE
from mnet_jax.weight_files import KerasLayers, StateDict

HEAD = "classifier/logits"

_ALPHAS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.1, 1.2, 1.25, 1.3, 1.4, 1.5)

_PARTS = ("expand", "depthwise", "full", "squeeze_excite", "pointwise", "project")  # of a block, in order

_BATCH_NORM = {  # our leaf -> the sources' names
    ("params", "scale"): ("gamma", "weight"),
    ("params", "bias"): ("beta", "bias"),
    ("batch_stats", "mean"): ("moving_mean", "running_mean"),
    ("batch_stats", "var"): ("moving_variance", "running_var"),
}

_INCEPTION = {"data.mean": (0.5,), "data.std": (0.5,)}
_IMAGENET = {"data.mean": (0.485, 0.456, 0.406), "data.std": (0.229, 0.224, 0.225)}

Variables = dict[str, Any]
Tensors = dict[str, tuple[str, np.ndarray]]  # by our path: the source's name, and the array in our layout


def recipe(path: str, model_name: str) -> dict[str, Any]:
    """What the source of a weight file does, by dotted config key: padding, epsilon, and preparation of the images.

    A `config.json` beside a timm file, as the hub has it, is followed where it differs from timm's usual values.

    Raises:
      UserError: the file cannot be read, or is of none of the sources.
    """
    return _recipe(_source(path, weight_files.read(path)), path, model_name)


def load(path: str, model: nn.Module, variables: Variables, fresh_head: bool = False) -> Variables:
    """The variables of `model` with the values of a weight file.

    Args:
      path: of the file.
      model: a network of `models.MODELS`.
      variables: of the model, as arrays or as shapes.
      fresh_head: leave the last dense layer as it is in `variables` where the file's has another number of classes.

    Returns:
      {"params", "batch_stats"}, float32.

    Raises:
      UserError: the file cannot be read, or a tensor is left over, missing, not finite, or of another shape.
    """
    content = weight_files.read(path)
    source = _source(path, content)
    shapes = traverse_util.flatten_dict(variables, sep="/")
    try:
        found = _match(content, source, model, shapes)
        if fresh_head:
            found = {key: value for key, value in found.items() if HEAD not in key or _fits(value, shapes[key])}
        _check(found, shapes)
    except _Mismatch as error:
        hint = _fitting_alpha(content, source, model, shapes)
        raise UserError(f"weights {path} do not fit {_describe(model)}: {error}{hint}") from error
    arrays = {key: found[key][1].astype(np.float32) if key in found else shapes[key] for key in shapes}
    return traverse_util.unflatten_dict(arrays, sep="/")


def check(config) -> None:
    """Looks whether the weights that a resolved config starts from fit its network; without training, all of them.

    Raises:
      UserError: as `load`.
    """
    if config.train.init_from is not None:
        model = models.build(config.model)
        variables = abstract_variables(model, config.data.channels)
        load(config.train.init_from, model, variables, fresh_head=config.train.epochs > 0)


class _Mismatch(Exception):
    """A tensor has no place, or a variable has no tensor, or one is of the wrong shape."""


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


def _recipe(source: str, path: str, model_name: str) -> dict[str, Any]:
    is_v1, is_v2 = model_name == "mobilenet_v1", model_name == "mobilenet_v2"
    central = {"data.eval_crop": "central", "data.eval_crop_fraction": 0.875, "data.eval_filter": "tf_bilinear"}
    shorter_side = {"data.eval_crop": "shorter_side", "data.eval_crop_fraction": 0.875, "data.eval_filter": "bilinear"}
    tensorflow = {"model.padding": "same", "model.bn_epsilon": 1e-3}
    torch = {"model.padding": "symmetric", "model.bn_epsilon": 1e-5}
    if source == "keras":
        return tensorflow | central | _INCEPTION | ({"model.padding": "keras_v1"} if is_v1 else {})
    if source == "torchvision":
        return torch | shorter_side | _IMAGENET | ({} if is_v2 else {"model.bn_epsilon": 1e-3})
    if is_v1 or is_v2:
        usual = torch | shorter_side | {"data.eval_filter": "bicubic"} | (_INCEPTION if is_v1 else _IMAGENET)
    else:
        usual = tensorflow | shorter_side | _INCEPTION  # the tf_ models: ported from TF-slim
    return usual | _from_hub(pathlib.Path(path).with_name("config.json"))


def _from_hub(path: pathlib.Path) -> dict[str, Any]:
    """The recipe that timm's hub keeps beside a file."""
    try:
        hub = json.loads(path.read_text())
        images = hub["pretrained_cfg"]
        changed = {
            "data.mean": tuple(map(float, images["mean"])),
            "data.std": tuple(map(float, images["std"])),
            "data.eval_crop_fraction": float(images["crop_pct"]),
            "data.eval_filter": str(images["interpolation"]),
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not as timm's hub writes it ({type(error).__name__}: {error})") from error
    if not hub["architecture"].startswith("tf_"):
        changed |= {"model.padding": "symmetric", "model.bn_epsilon": 1e-5}
    return changed


def _match(content: KerasLayers | StateDict, source: str, model: nn.Module, shapes: Mapping[str, Any]) -> Tensors:
    """Gives every tensor of a file its place among the variables.

    Raises:
      _Mismatch: a tensor has no place, or a layer has no tensor.
    """
    modules = _in_order(shapes)
    if isinstance(content, KerasLayers):
        return _match_keras(content, model, modules)
    names = _torchvision_names(modules) if source == "torchvision" else _timm_names(model, modules)
    return _match_torch(content, names)


def _match_keras(content: KerasLayers, model: nn.Module, modules: list[str]) -> Tensors:
    queues = {kind: iter(layers) for kind, layers in content.queues.items()}
    head_class = "dense" if isinstance(model, mobilenet_v2.MobileNetV2) else "conv2d"

    def take(kind: str, module: str) -> tuple[str, dict[str, np.ndarray]]:
        queue = queues.get(None if None in queues else kind, iter(()))
        if (layer := next(queue, None)) is None:
            raise _Mismatch(f"the file has no layer for {module}")
        return layer[0], dict(layer[1])

    found: Tensors = {}
    for module in modules:
        kind = {"bn": "batch_normalization", DEPTHWISE: "depthwise_conv2d"}.get(module.rpartition("/")[2], "conv2d")
        layer, variables = take(head_class if module == HEAD else kind, module)
        for path, name in _variables(module, 0):
            if name not in variables:
                raise _Mismatch(f"layer {layer} has no {name}, which {path} needs")
            found[path] = f"{layer}/{name}", _from_keras(module, variables.pop(name))
        if variables:
            raise _Mismatch(f"{layer}/{next(iter(variables))} has no place; {module} has none like it")
    for queue in queues.values():
        if left := [name for name, _ in queue]:
            raise _Mismatch(f"{_listed(left)} of the file: no place for it")
    return found


def _match_torch(content: StateDict, names: dict[str, str]) -> Tensors:
    """Takes "NAME.weight", "NAME.bias", ... for each of our modules; batch counters have no use."""
    left = {name: value for name, value in content.items() if not name.endswith("num_batches_tracked")}
    found: Tensors = {}
    for module, name in names.items():
        for path, variable in _variables(module, 1):
            if (tensor := left.pop(f"{name}.{variable}", None)) is None:
                raise _Mismatch(f"the file has no {name}.{variable}, which {path} needs")
            found[path] = f"{name}.{variable}", _from_torch(module, tensor)
    if left:
        raise _Mismatch(f"{_listed(sorted(left))} of the file: no place for it")
    return found


def _in_order(shapes: Mapping[str, Any]) -> list[str]:
    """The modules that own variables, from input to output: "stem/conv", "stem/bn", ..., "classifier/logits"."""

    def position(module: str):
        layer, _, leaf = module.partition("/")
        block, _, part = layer.partition("_")
        first = {"stem": 0, "last": 2, "classifier": 3}.get(layer, 1)
        inner = ("hidden", "logits", "squeeze", "excite", "conv", DEPTHWISE, "bn").index(leaf)
        return first, block, _PARTS.index(part) if first == 1 else 0, inner

    modules = {path.partition("/")[2].rpartition("/")[0] for path in shapes}
    return sorted(modules, key=position)


def _has_bias(module: str) -> bool:
    return module.rpartition("/")[2] in ("hidden", "logits", "squeeze", "excite")


def _variables(module: str, source: int) -> Iterator[tuple[str, str]]:
    """The paths of a module's variables, and their names in Keras (0) or PyTorch (1)."""
    if module.endswith("/bn"):
        for (collection, leaf), names in _BATCH_NORM.items():
            yield f"{collection}/{module}/{leaf}", names[source]
    else:
        yield f"params/{module}/kernel", ("kernel", "weight")[source]
        if _has_bias(module):
            yield f"params/{module}/bias", "bias"


def _from_keras(module: str, value: np.ndarray) -> np.ndarray:
    """(3, 3, channels, 1) to (3, 3, 1, channels) for depthwise kernels; a 1x1 convolution to a dense kernel."""
    if module.endswith(DEPTHWISE) and value.ndim == 4:
        return value.transpose(0, 1, 3, 2)
    return _as_dense(value) if _has_bias(module) else value


def _from_torch(module: str, value: np.ndarray) -> np.ndarray:
    """(out, in, height, width) to (height, width, in, out); (out, in) to (in, out)."""
    if value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
        return _as_dense(value) if _has_bias(module) else value
    return value.T if value.ndim == 2 else value


def _as_dense(value: np.ndarray) -> np.ndarray:
    return value[0, 0] if value.ndim == 4 and value.shape[:2] == (1, 1) else value


def _blocks(modules: list[str]) -> list[dict[str, list[str]]]:
    """For each block, its parts in order, and the modules of each part."""
    inner = [module for module in modules if module.startswith("block")]
    blocks = []
    for _, block in itertools.groupby(inner, key=lambda module: module.partition("_")[0]):
        parts = itertools.groupby(block, key=lambda module: module.partition("_")[2].partition("/")[0])
        blocks.append({part: list(group) for part, group in parts})
    return blocks


def _torchvision_names(modules: list[str]) -> dict[str, str]:
    blocks = _blocks(modules)
    is_v3 = "classifier/hidden" in modules
    names = _conv_bn("stem", "features.0.0", "features.0.1")
    for i, block in enumerate(blocks, start=1):
        prefix = f"features.{i}.{'block' if is_v3 else 'conv'}"
        for j, (part, inner) in enumerate(block.items()):
            if part == "squeeze_excite":
                names |= dict(zip(inner, (f"{prefix}.{j}.fc1", f"{prefix}.{j}.fc2"), strict=True))
            elif part == "project" and not is_v3:
                names |= dict(zip(inner, (f"{prefix}.{j}", f"{prefix}.{j + 1}"), strict=True))
            else:
                names |= dict(zip(inner, (f"{prefix}.{j}.0", f"{prefix}.{j}.1"), strict=True))
    last = f"features.{len(blocks) + 1}"
    names |= _conv_bn("last", f"{last}.0", f"{last}.1")
    if is_v3:
        names["classifier/hidden"] = "classifier.0"
    names[HEAD] = "classifier.3" if is_v3 else "classifier.1"
    return _present(names, modules)


def _timm_names(model: nn.Module, modules: list[str]) -> dict[str, str]:
    blocks = _blocks(modules)
    is_v3 = "classifier/hidden" in modules
    names = _conv_bn("stem", "conv_stem", "bn1")
    stages = _stages(model)
    places = [(stage, row) for stage, rows in enumerate(stages) for row in range(rows)]
    for (stage, row), block in zip(places, blocks, strict=False):
        convolutions = iter(("conv_pw", "conv_dw", "conv_pwl") if "expand" in block else ("conv_dw", "conv_pw"))
        norms = itertools.count(1)
        prefix = f"blocks.{stage}.{row}"
        for part, inner in block.items():
            if part == "squeeze_excite":
                suffixes = ("se.conv_reduce", "se.conv_expand")
            else:
                suffixes = (next(convolutions), f"bn{next(norms)}")
            names |= dict(zip(inner, (f"{prefix}.{suffix}" for suffix in suffixes), strict=True))
    last = (f"blocks.{len(stages)}.0.conv", f"blocks.{len(stages)}.0.bn1") if is_v3 else ("conv_head", "bn2")
    names |= _conv_bn("last", *last) | {"classifier/hidden": "conv_head", HEAD: "classifier"}
    return _present(names, modules)


def _conv_bn(layer: str, conv: str, bn: str) -> dict[str, str]:
    return {f"{layer}/conv": conv, f"{layer}/bn": bn}


def _present(names: dict[str, str], modules: list[str]) -> dict[str, str]:
    """The names of the modules that the model has."""
    if unknown := [module for module in modules if module not in names]:
        raise _Mismatch(f"the source has no {_listed(unknown)}")
    return {module: names[module] for module in modules}


def _stages(model: nn.Module) -> list[int]:
    """How many blocks each stage has; a stage is a run of blocks of equal width in the paper's table."""
    if isinstance(model, mobilenet_v2.MobileNetV2):
        return model.repeats()
    if isinstance(model, mobilenet_v1.MobileNetV1):
        blocks = mobilenet_v1.SHALLOW_BLOCKS if model.shallow else mobilenet_v1.BLOCKS
        widths = [features for features, _ in blocks]
    else:
        widths = [features for _, features, *_ in model.BLOCKS]
    return [len(list(group)) for _, group in itertools.groupby(widths)]


def _check(found: Tensors, shapes: Mapping[str, Any]) -> None:
    for path, tensor in found.items():
        name, value = tensor
        if not _fits(tensor, shapes[path]):
            raise _Mismatch(f"{name} gives {path} the shape {value.shape}, expected {tuple(shapes[path].shape)}")
        if not np.isfinite(value).all():
            raise _Mismatch(f"{name} has values that are not finite; the file is damaged")


def _fits(tensor: tuple[str, np.ndarray], expected) -> bool:
    return tensor[1].shape == tuple(expected.shape)


def _fitting_alpha(content, source: str, model: nn.Module, shapes: Mapping[str, Any]) -> str:
    """A hint at the alpha, or else the model, that the file fits; empty where there is none."""
    channels = shapes["params/stem/conv/kernel"].shape[2]
    classes = shapes[f"params/{HEAD}/kernel"].shape[-1]
    names_fit = _is_fit(content, source, model, shapes, names_alone=True)
    others = [models.MODELS[name](num_classes=classes, alpha=model.alpha) for name in models.MODELS]
    for candidate in (model.clone(alpha=alpha) for alpha in _ALPHAS) if names_fit else others:
        shapes = traverse_util.flatten_dict(abstract_variables(candidate, channels), sep="/")
        if _is_fit(content, source, candidate, shapes):
            return f"; it fits --config.model.name={_name(candidate)} --config.model.alpha={candidate.alpha}"
    return ""


def _is_fit(content, source: str, model: nn.Module, shapes: Mapping[str, Any], names_alone: bool = False) -> bool:
    try:
        found = _match(content, source, model, shapes)
    except _Mismatch:
        return False
    return names_alone or all(_fits(value, shapes[path]) for path, value in found.items() if HEAD not in path)


def abstract_variables(model: nn.Module, channels: int) -> Variables:
    """The shapes of a network's variables."""
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, channels))))


def _describe(model: nn.Module) -> str:
    return f"{_name(model)} with alpha {model.alpha} and {model.num_classes} classes"


def _name(model: nn.Module) -> str:
    return next(name for name, kind in models.MODELS.items() if type(model) is kind)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
