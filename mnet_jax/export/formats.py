"""The files that a trained network is exported to; each is read back and verified before it gets its name."""

import contextlib
import dataclasses
import importlib
import json
import math
import os
import pathlib
from collections.abc import Callable

import jax
import jax.export
import numpy as np
from flax import traverse_util

from mnet_jax.errors import UserError
from mnet_jax.export import images, verify
from mnet_jax.export.program import Network, network_of, textbook
from mnet_jax.export.verify import Run, Scores
from mnet_jax.train.trained import Trained
from mnet_jax.workdir.software import software

FORMATS = ("onnx", "stablehlo", "safetensors")
PLATFORMS = ("cpu", "cuda", "tpu")  # that a StableHLO file is for


@dataclasses.dataclass(frozen=True)
class Exported:
    """A file that was verified.

    Attributes:
      path: of it.
      bytes: of it, on disk.
      scores: on the test split.
    """

    path: pathlib.Path
    bytes: int
    scores: Scores


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How a network is quantised.

    Attributes:
      images: drawn from the training split, on which the ranges of activations are measured.
      seed: of that draw.
      per_channel: a scale for each output channel of the weights, not one for all of a layer.
    """

    images: int = 512
    seed: int = 0
    per_channel: bool = True


def to_onnx(
    trained: Trained,
    path: str | os.PathLike,
    with_preprocessing: bool = False,
    quantize: Calibration | None = None,
) -> Exported:
    """ONNX for batches of any size, batch normalisation folded, "class_names" in the metadata.

    Args:
      trained: as `mnet_jax.load` returns it.
      path: of the file, whose folder is made.
      with_preprocessing: take uint8 images (batch, image_size, image_size, channels) as the data set has them, and
        return probabilities; else float32 (batch, input_size, input_size, channels), normalised, to logits.
      quantize: write int8 instead of float32; its outputs may differ, its accuracy is counted.

    Raises:
      UserError: onnx or onnxruntime is missing, so are the data that an export is verified on, the network has a
        primitive without an operator (layer and primitive are named), or the outputs differ from the trial's.
    """
    need("onnx", "onnxruntime")
    from mnet_jax.export import int8, onnx_file

    network = network_of(trained, with_preprocessing)
    model = onnx_file.as_model(network, trained.config.model.name, _metadata(trained))
    if quantize is not None:
        _check_float(model, trained, network, path)
        pixels = images.for_calibration(trained, quantize.images, quantize.seed)
        inputs = pixels if with_preprocessing else images.standardized(trained, pixels)
        model = int8.quantized(model, inputs, quantize.per_channel)
    return _written(path, model.SerializeToString(), _onnx_run, trained, network, may_differ=quantize is not None)


def _check_float(model, trained: Trained, network: Network, path: str | os.PathLike) -> None:
    """Verifies what is to be quantised, so that an error of the conversion is not taken for a loss of int8."""
    verify.check(verify.compare(_onnx_run(model.SerializeToString()), trained, network), f"{path}, before int8")


def to_stablehlo(trained: Trained, path: str | os.PathLike, with_preprocessing: bool = False) -> Exported:
    """StableHLO for batches of any size on `PLATFORMS`: `jax.export.deserialize(bytearray(content)).call(images)`.

    Args and errors as `to_onnx`.
    """
    network = network_of(trained, with_preprocessing)
    (batch,) = jax.export.symbolic_shape("batch")
    try:
        exported = jax.export.export(jax.jit(network.function), platforms=PLATFORMS)(network.images(batch))
    except Exception as error:
        why, _, _ = f"{type(error).__name__}: {error}".partition("\n")
        raise UserError(f"StableHLO: the network needs to know the number of images, as by len(x) ({why})") from error

    def run_of(content: bytes) -> Run:
        call = jax.jit(jax.export.deserialize(bytearray(content)).call)
        return lambda pixels: np.asarray(call(pixels))

    return _written(path, bytes(exported.serialize()), run_of, trained, network)


def to_safetensors(trained: Trained, path: str | os.PathLike) -> Exported:
    """The variables that are evaluated, float32, by names such as "params/stem/conv/kernel"; config in the metadata.

    Args and errors as `to_onnx`.
    """
    import safetensors.numpy

    flat = traverse_util.flatten_dict(trained.variables, sep="/")
    tensors = {name: np.asarray(value, np.float32, order="C") for name, value in flat.items()}
    network, module = network_of(trained), textbook(trained.module)

    def run_of(content: bytes) -> Run:
        variables = traverse_util.unflatten_dict(safetensors.numpy.load(content), sep="/")
        apply = jax.jit(lambda pixels: module.apply(variables, pixels, train=False))
        return lambda pixels: np.asarray(apply(pixels))

    metadata = _metadata(trained) | {"config": json.dumps(trained.config.to_dict())}
    return _written(path, safetensors.numpy.save(tensors, metadata), run_of, trained, network)


def _onnx_run(content: bytes) -> Run:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # of types that onnxruntime does not export
        why, _, _ = str(error).strip().partition("\n")
        raise UserError(f"onnxruntime refuses the model ({why})") from error
    return lambda pixels: session.run(None, {"images": pixels})[0]


def _written(
    path: str | os.PathLike,
    content: bytes,
    run_of: Callable[[bytes], Run],
    trained: Trained,
    network: Network,
    may_differ: bool = False,
) -> Exported:
    """Writes a file under another name, reads it back, verifies it, and renames it."""
    path = pathlib.Path(path)
    if not path.name or path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder, not a file")
    unverified = path.with_name(f"{path.name}.unverified-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unverified.write_bytes(content)
        scores = verify.compare(run_of(unverified.read_bytes()), trained, network)
        if not (may_differ and math.isfinite(scores.difference)):
            verify.check(scores, os.fspath(path))
        unverified.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            unverified.unlink(missing_ok=True)
    return Exported(path, len(content), scores)


def _metadata(trained: Trained) -> dict[str, str]:
    return {
        "class_names": json.dumps(list(trained.classes)),
        "model": trained.config.model.name,
        "dataset": str(trained.config.data.get("tfds_name") or trained.config.data.name),
        "step": str(trained.step),
        "mnet_jax": software()["versions"]["mnet_jax"] or "",
    }


def need(*libraries: str) -> None:
    """Raises UserError where a library that ONNX needs is missing."""
    for library in libraries:
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise UserError(f'ONNX needs {library}: pip install -e ".[export]"') from error
