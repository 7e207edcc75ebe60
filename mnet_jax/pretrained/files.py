"""Weight files of other frameworks to named arrays, told apart by content; nothing in one is ever run.

HDF5 (Keras 2 and 3), Keras 3's `.keras` archives, safetensors, and what `torch.save` writes (only with
`weights_only=True`): a state dict, or a training checkpoint that holds some.
"""

import argparse
import collections
import dataclasses
import io
import pathlib
import pickle
import re
import zipfile
from collections.abc import Mapping

import h5py
import numpy as np
import safetensors.numpy

from mnet_jax.errors import UserError

_MAX_BYTES = 2**31  # of the weights in a .keras archive; the largest MobileNet has 30 MB

_KERAS_VARIABLES = {  # how a Keras 3 weights file numbers the variables of a layer
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}

Layer = tuple[str, dict[str, np.ndarray]]  # its name, and its variables by name


@dataclasses.dataclass(frozen=True)
class KerasLayers:
    """The layers with variables, in the model's order: all in one queue, or a queue per class of layer.

    Keras 2's HDF5 lists the layers in order, under None; Keras 3's numbers those of each class ("conv2d", ...).
    """

    queues: dict[str | None, list[Layer]]


StateDict = dict[str, np.ndarray]

_PARTS = ("state_dict", "model", "model_state_dict", "module")  # of training checkpoints; averages only on request
_WRAPPERS = ("module.", "_orig_mod.", "model.")  # what data parallelism, torch.compile and Lightning put before names


def split(path: str | pathlib.Path) -> tuple[pathlib.Path, str | None]:
    """The file of "FILE" or "FILE:PART", and the part of a training checkpoint, such as "model_ema"."""
    name, _, part = str(path).rpartition(":")
    return (pathlib.Path(path), None) if not name or pathlib.Path(path).exists() else (pathlib.Path(name), part)


def read(path: str | pathlib.Path) -> KerasLayers | StateDict:
    """Everything in a weight file, or in a part of it; see `split`.

    Raises:
      UserError: there is no such file or part, it is damaged, of a format that is not known, or a pickle that is more
        than tensors, numbers, text and parsed options.
    """
    path, part = split(path)
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise UserError(f"weights {path}: {error.strerror}") from error
    try:
        content = _parse(path, head, part)
    except UserError:
        raise
    except Exception as error:  # whatever bytes at random make the readers raise
        raise UserError(f"weights {path}: the file is damaged ({type(error).__name__}: {error})") from error
    if content is None:
        raise UserError(f"weights {path}: unknown format (known: .h5, .weights.h5, .keras, .safetensors, .pth)")
    return content if isinstance(content, KerasLayers) else _unwrapped(content)


def _parse(path: pathlib.Path, head: bytes, part: str | None) -> KerasLayers | StateDict | None:
    """What is in the file, or None where its format is not known."""
    is_torch = head.startswith(b"\x80\x02") or path.suffix.lower() in (".pth", ".pt", ".bin", ".tar", ".ckpt")
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            is_torch = any(name.endswith("data.pkl") for name in archive.namelist())
    if part and not is_torch:
        raise UserError(f"weights {path}:{part}: only a training checkpoint of PyTorch's has parts")
    if head.startswith(b"\x89HDF"):
        with h5py.File(path, "r") as file:
            return _keras(file)
    if head.startswith(b"PK") and _is_keras_archive(path):
        return _keras_archive(path)
    if head[8:9] == b"{":
        return safetensors.numpy.load_file(path)
    return _torch(path, part) if is_torch else None


def _keras(file: h5py.Group) -> KerasLayers:
    file = file.get("model_weights", file)
    if names := _attribute(file, "layer_names"):
        return KerasLayers({None: [layer for name in names if (layer := _named_layer(file[name], name))[1]]})
    if "layers" in file:
        return KerasLayers(_numbered_layers(file["layers"]))
    raise ValueError("it holds no Keras layers")


def _named_layer(group: h5py.Group, name: str) -> Layer:
    """Keras 2: {"kernel": ...} from weights with names such as "conv1/depthwise_kernel:0"."""
    variables = {}
    for weight in _attribute(group, "weight_names"):
        variable = weight.rpartition("/")[2].partition(":")[0].removeprefix("depthwise_")
        variables[variable] = np.asarray(group[weight])
    return name, variables


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """A list of names; HDF5 keeps long ones in pieces, "layer_names0", "layer_names1", ..."""
    pieces = [name] if name in group.attrs else sorted(
        (key for key in group.attrs if re.fullmatch(rf"{name}\d+", key)), key=lambda key: int(key[len(name) :])
    )  # fmt: skip
    values = [value for piece in pieces for value in group.attrs[piece]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _numbered_layers(layers: h5py.Group) -> dict[str | None, list[Layer]]:
    """Keras 3: "conv2d", "conv2d_1", ... with "vars/0", "vars/1", ...; random states are left out."""
    queues = collections.defaultdict(dict)
    for name, layer in layers.items():
        kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name).groups()
        if len(layer.get("vars", ())) == 0:
            continue
        if kind not in _KERAS_VARIABLES:
            raise ValueError(f"no MobileNet has a layer {name}")
        values = [np.asarray(layer["vars"][str(i)]) for i in range(len(layer["vars"]))]
        if len(values) > len(_KERAS_VARIABLES[kind]):
            raise ValueError(f"layer {name} has {len(values)} variables, a {kind} has {_KERAS_VARIABLES[kind]}")
        queues[kind][int(number or 0)] = name, dict(zip(_KERAS_VARIABLES[kind], values, strict=False))
    return {kind: [layer for _, layer in sorted(numbered.items())] for kind, numbered in queues.items()}


def _is_keras_archive(path: pathlib.Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return "model.weights.h5" in archive.namelist()


def _keras_archive(path: pathlib.Path) -> KerasLayers:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("model.weights.h5").file_size > _MAX_BYTES:
            raise ValueError(f"its weights are larger than {_MAX_BYTES} bytes")
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights, "r") as file:
        return _keras(file)


def _torch(path: pathlib.Path, part: str | None) -> StateDict:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"weights {path}: reading a .pth file needs PyTorch (pip install torch); safetensors need nothing"
        ) from error
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options that timm and torchvision keep
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        lines = str(error).strip().splitlines()
        reason = next((line.strip() for line in lines if "WeightsUnpickler error" in line), lines[0])
        raise UserError(f"weights {path}: refused, this is no pickle of tensors alone ({reason})") from error

    def is_state_dict(value) -> bool:
        return isinstance(value, Mapping) and all(isinstance(leaf, torch.Tensor) for leaf in value.values())

    if part is not None or not is_state_dict(state):
        entries = state.items() if isinstance(state, Mapping) else ()
        state = _part(path, part, {name: value for name, value in entries if is_state_dict(value) and value})
    return {name: value.detach().float().numpy() for name, value in state.items()}


def _part(path: pathlib.Path, part: str | None, parts: Mapping[str, Mapping]) -> Mapping:
    """One of the state dicts of a training checkpoint."""
    known = f"it has {', '.join(map(repr, parts))}" if parts else "it has none; save model.state_dict()"
    if part is not None:
        if part not in parts:
            raise UserError(f"weights {path}:{part}: no such state dict (names and tensors) in the file; {known}")
        return parts[part]
    if found := [name for name in _PARTS if name in parts]:
        return parts[found[0]]
    raise UserError(f"weights {path}: which state dict (names and tensors) is meant? {known}; say {path}:NAME")


def _unwrapped(content: StateDict) -> StateDict:
    """Without the words that wrappers put before every name."""
    content = {name: value for name, value in content.items() if name != "n_averaged"}
    while content and (word := next((w for w in _WRAPPERS if all(name.startswith(w) for name in content)), None)):
        content = {name.removeprefix(word): value for name, value in content.items()}
    return content
