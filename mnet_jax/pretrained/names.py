"""Where each tensor of another framework's network stands in ours, by name for PyTorch and by order for Keras.

Modules of ours are named by their path, "block03_expand/conv"; variables by collection and path,
"batch_stats/block03_expand/bn/mean".
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from mnet_jax.models import mobilenet_v1, mobilenet_v2
from mnet_jax.models.layers import DEPTHWISE
from mnet_jax.pretrained.files import KerasLayers, StateDict

HEAD = "classifier/logits"

_PARTS = ("expand", "depthwise", "full", "squeeze_excite", "pointwise", "project")  # of a block, in order

_BATCH_NORM = {  # our leaf -> the sources' names
    ("params", "scale"): ("gamma", "weight"),
    ("params", "bias"): ("beta", "bias"),
    ("batch_stats", "mean"): ("moving_mean", "running_mean"),
    ("batch_stats", "var"): ("moving_variance", "running_var"),
}

Tensors = dict[str, tuple[str, np.ndarray]]  # by our variable: the source's name, and the array in our layout


class Mismatch(Exception):
    """A tensor has no place, or a variable has no tensor, or one is of the wrong shape."""


def match(
    content: KerasLayers | StateDict,
    source: str,
    model: nn.Module,
    shapes: Mapping[str, Any],
    without: Collection[str] = (),
) -> Tensors:
    """Gives every tensor of a file its place among the variables.

    Args:
      content: of the file.
      source: "keras", "torchvision" or "timm".
      model: ours.
      shapes: of its variables, by path.
      without: modules of ours that the file does not have.

    Raises:
      Mismatch: a tensor has no place, or a layer has no tensor.
    """
    modules = in_order(shapes)
    if isinstance(content, KerasLayers):
        return _match_keras(content, model, [module for module in modules if module not in without])
    names = torchvision_names(modules) if source == "torchvision" else timm_names(model, modules)
    return _match_torch(content, {module: name for module, name in names.items() if module not in without})


def _match_keras(content: KerasLayers, model: nn.Module, modules: list[str]) -> Tensors:
    queues = {kind: iter(layers) for kind, layers in content.queues.items()}
    head_class = "dense" if isinstance(model, mobilenet_v2.MobileNetV2) else "conv2d"

    def take(kind: str, module: str) -> tuple[str, dict[str, np.ndarray]]:
        queue = queues.get(None if None in queues else kind, iter(()))
        if (layer := next(queue, None)) is None:
            raise Mismatch(f"the file has no layer for {module}")
        return layer[0], dict(layer[1])

    found: Tensors = {}
    for module in modules:
        kind = {"bn": "batch_normalization", DEPTHWISE: "depthwise_conv2d"}.get(module.rpartition("/")[2], "conv2d")
        layer, variables = take(head_class if module == HEAD else kind, module)
        for path, name in variables_of(module, 0):
            if name not in variables:
                raise Mismatch(f"layer {layer} has no {name}, which {path} needs")
            found[path] = f"{layer}/{name}", _from_keras(module, variables.pop(name))
        if variables:
            raise Mismatch(f"{layer}/{next(iter(variables))} has no place; {module} has none like it")
    for queue in queues.values():
        if left := [name for name, _ in queue]:
            raise Mismatch(f"{_listed(left)} of the file: no place for it")
    return found


def _match_torch(content: StateDict, names: dict[str, str]) -> Tensors:
    """Takes "NAME.weight", "NAME.bias", ... for each of our modules; batch counters have no use."""
    left = {name: value for name, value in content.items() if not name.endswith("num_batches_tracked")}
    found: Tensors = {}
    for module, name in names.items():
        for path, variable in variables_of(module, 1):
            if (tensor := left.pop(f"{name}.{variable}", None)) is None:
                raise Mismatch(f"the file has no {name}.{variable}, which {path} needs")
            found[path] = f"{name}.{variable}", _from_torch(module, tensor)
    if left:
        raise Mismatch(f"{_listed(sorted(left))} of the file: no place for it")
    return found


def in_order(shapes: Mapping[str, Any]) -> list[str]:
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


def variables_of(module: str, source: int) -> Iterator[tuple[str, str]]:
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


def torchvision_names(modules: list[str]) -> dict[str, str]:
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


def timm_names(model: nn.Module, modules: list[str]) -> dict[str, str]:
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
        raise Mismatch(f"the source has no {_listed(unknown)}")
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


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
