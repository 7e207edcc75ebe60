"""Weight files of other frameworks to named arrays, told apart by content; nothing in one is ever run.

HDF5 (Keras 2 and 3), Keras 3's `.keras` archives, safetensors, and PyTorch's `.pth` (known by that ending; only with
`weights_only=True`).
"""

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


def read(path: str | pathlib.Path) -> KerasLayers | StateDict:
    """Everything in a weight file.

    Raises:
      UserError: there is no such file, it is damaged, of a format that is not known, or a pickle that is more than
        tensors.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise UserError(f"weights {path}: {error.strerror}") from error
    try:
        content = _parse(path, head)
    except UserError:
        raise
    except Exception as error:  # whatever bytes at random make the readers raise
        raise UserError(f"weights {path}: the file is damaged ({type(error).__name__}: {error})") from error
    if content is None:
        raise UserError(f"weights {path}: unknown format (known: .h5, .weights.h5, .keras, .safetensors, .pth)")
    return content


def _parse(path: pathlib.Path, head: bytes) -> KerasLayers | StateDict | None:
    """What is in the file, or None where its format is not known."""
    if head.startswith(b"\x89HDF"):
        with h5py.File(path, "r") as file:
            return _keras(file)
    if head.startswith(b"PK") and _is_keras_archive(path):
        return _keras_archive(path)
    if head[8:9] == b"{":
        return safetensors.numpy.load_file(path)
    return _torch(path) if path.suffix in (".pth", ".pt", ".bin") else None


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


def _torch(path: pathlib.Path) -> StateDict:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"weights {path}: reading a .pth file needs PyTorch (pip install torch); safetensors need nothing"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"weights {path}: refused, this is no pickle of tensors alone ({reason})") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"weights {path}: this is no state dict (names and tensors); save model.state_dict()")
    return {name: value.float().numpy() for name, value in state.items()}
