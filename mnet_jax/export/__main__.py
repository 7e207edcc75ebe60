"""A trained network as a file to take away, verified on the test split, where its exact top-1 is counted.

    python -m mnet_jax.export --trial FOLDER --format onnx | stablehlo | safetensors [--output FILE]
    python -m mnet_jax.export --workdir DIR --format onnx --quantize int8
    python -m mnet_jax.export --weights FILE --config FILE --format onnx --output FILE

The first exports a trial's latest checkpoint to `FOLDER/export/model.onnx` and so on; the second that of every trial of
a sweep which is done; the third weights of Keras, torchvision or timm. A file whose outputs differ from the trial's by
more than 1e-4 of the largest is not kept.
"""

import logging
import pathlib
from collections.abc import Callable, Iterator

from absl import flags

from mnet_jax import cli
from mnet_jax.devices.process import configure
from mnet_jax.errors import UserError, nearest
from mnet_jax.export import formats
from mnet_jax.export.formats import FORMATS, Calibration, Exported
from mnet_jax.train.trained import Trained, load, of_weights
from mnet_jax.workdir.files import DONE, TrialFolder, Workdir


def main(file) -> int:
    given = flags.FLAGS
    _check(given, file)
    configure()
    logging.getLogger().setLevel(logging.WARNING)
    status = 0
    for folder, load_network in _networks(given, file):
        path = pathlib.Path(given.output) if given.output else folder.path / "export" / _name(given)
        try:
            network = load_network()
            exported = _export(given, network, path)
        except UserError as error:
            if not given.workdir:
                raise
            print(f"{folder.name}: {error}")
            status = 1
            continue
        if not given.output:
            _record(given, folder, network, exported)
        print(_told(exported), flush=True)
    return status


def _check(given, file) -> None:
    """Raises UserError where flags are missing or contradict each other."""
    if sum(name is not None for name in (given.trial, given.workdir, given.weights)) != 1:
        raise UserError("give one of --trial FOLDER, --workdir DIR and --weights FILE")
    if given.format not in FORMATS:
        hint = nearest(given.format or "", FORMATS)
        raise UserError(f"--format {given.format}: no such format{hint} (known: {', '.join(FORMATS)})")
    if given.format == "onnx":
        formats.need("onnx", "onnxruntime")
    if given.weights and file is None:
        raise UserError("--weights needs --config FILE, which says the network and the data")
    if file is not None and not given.weights:
        raise UserError("--config has no effect without --weights FILE: a trial has a config of its own")
    if given.weights and not given.output:
        raise UserError("--weights needs --output FILE")
    if given.output and given.workdir:
        raise UserError("--output has no effect beside --workdir: each file goes into the folder of its trial")
    if given.with_preprocessing and given.format == "safetensors":
        raise UserError("--with_preprocessing has no effect on safetensors, which hold variables alone")
    if given.quantize not in (None, "int8"):
        raise UserError(f"--quantize {given.quantize}: must be int8")
    if given.quantize and given.format != "onnx":
        raise UserError(f"--quantize int8 is for --format onnx, not {given.format}")
    for name in ("per_tensor", "calibration_images", "calibration_seed"):
        if given[name].present and not given.quantize:
            raise UserError(f"--{name} has no effect without --quantize int8")
    if given.calibration_images < 1:
        raise UserError(f"--calibration_images={given.calibration_images}: must be positive")
    if given.calibration_seed < 0:
        raise UserError(f"--calibration_seed={given.calibration_seed}: must be 0 or more")


def _networks(given, file) -> Iterator[tuple[TrialFolder | None, Callable[[], Trained]]]:
    """Folders of trials, and what loads their networks."""
    if given.weights:
        yield None, lambda: of_weights(file.config, given.weights)
    elif given.trial:
        folder = TrialFolder(given.trial)
        yield folder, lambda: load(folder)
    else:
        workdir = Workdir(given.workdir)
        done = [folder for folder in map(workdir.trial, workdir.trial_names()) if folder.status() == DONE]
        if not done:
            raise UserError(f"{workdir.path}: no trial is done there")
        for folder in done:
            yield folder, lambda folder=folder: load(folder)


def _name(given) -> str:
    if not given.quantize:
        return f"model.{given.format}"
    return "model.int8_per_tensor.onnx" if given.per_tensor else "model.int8.onnx"


def _export(given, trained: Trained, path: pathlib.Path) -> Exported:
    match given.format:
        case "safetensors":
            return formats.to_safetensors(trained, path)
        case "stablehlo":
            return formats.to_stablehlo(trained, path, given.with_preprocessing)
    return formats.to_onnx(trained, path, given.with_preprocessing, _calibration(given))


def _calibration(given) -> Calibration | None:
    if not given.quantize:
        return None
    return Calibration(given.calibration_images, given.calibration_seed, not given.per_tensor)


def _record(given, folder: TrialFolder, network: Trained, exported: Exported) -> None:
    """Keeps with the trial what was measured of a file."""
    scores = exported.scores
    entry = {
        "step": network.step,
        "bytes": exported.bytes,
        "top1": scores.top1,
        "top1_as_evaluated": scores.as_evaluated / scores.count,
        "images": scores.count,
        "difference": scores.difference,
        "with_preprocessing": given.with_preprocessing,
    }
    if given.quantize:
        entry |= {"calibration_images": given.calibration_images, "calibration_seed": given.calibration_seed}
    folder.add_export(_name(given).removeprefix("model."), entry)


def _told(exported: Exported) -> str:
    scores = exported.scores
    return (
        f"{exported.path}: {exported.bytes:,} bytes, top-1 {scores.top1:.4f} ({scores.correct:,} of {scores.count:,} "
        f"images; the trial {scores.as_evaluated:,}), outputs differ by {scores.difference:.1e} of the largest"
    )


if __name__ == "__main__":
    flags.DEFINE_string("trial", None, "Folder of a trial.")
    flags.DEFINE_string("workdir", None, "Folder of a sweep: every trial that is done.")
    flags.DEFINE_string("weights", None, "Weight file of Keras, torchvision or timm; see mnet_jax.pretrained.")
    flags.DEFINE_string("format", None, f"One of {', '.join(FORMATS)}.")
    flags.DEFINE_string("output", None, "File to write; by default in the trial's folder, as export/model.FORMAT.")
    flags.DEFINE_bool("with_preprocessing", False, "uint8 images in, probabilities out.")
    flags.DEFINE_string("quantize", None, "int8: onnxruntime's static quantisation, per channel.")
    flags.DEFINE_bool("per_tensor", False, "One scale for all weights of a layer.")
    flags.DEFINE_integer("calibration_images", Calibration.images, "Training images that ranges are measured on.")
    flags.DEFINE_integer("calibration_seed", Calibration.seed, "Of the draw of these.")
    cli.run(main, needs_config=False, description=__doc__)
