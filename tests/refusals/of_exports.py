"""Exports and latencies that cannot be made."""

import shlex

from tests.refusals.case import Case, config

_FILE = {"config.py": config()}


def _export(what: str, *flags: str) -> Case:
    return Case(what, shlex.join(["export", *flags]), _FILE)


CASES = (
    _export("nothing to export", "--format=onnx"),
    _export("a trial beside a workdir", "--trial=a", "--workdir=runs", "--format=onnx"),
    _export("a trial that is not there", "--trial=a", "--format=onnx"),
    _export("a workdir to export from without a trial", "--workdir=rnus", "--format=onnx"),
    _export("a misspelt format", "--trial=a", "--format=onx"),
    _export("a trial that has a config already", "--trial=a", "--config=config.py", "--format=onnx"),
    _export("weights to export without a config", "--weights=w.h5", "--format=onnx", "--output=w.onnx"),
    _export("weights to export to nowhere", "--weights=w.h5", "--config=config.py", "--format=onnx"),
    _export("one file for all trials", "--workdir=runs", "--format=onnx", "--output=model.onnx"),
    _export("preprocessing of variables", "--trial=a", "--format=safetensors", "--with_preprocessing"),
    _export("four bits", "--trial=a", "--format=onnx", "--quantize=int4"),
    _export("StableHLO in int8", "--trial=a", "--format=stablehlo", "--quantize=int8"),
    _export("calibration of float32", "--trial=a", "--format=onnx", "--calibration_images=8"),
    _export("calibration on nothing", "--trial=a", "--format=onnx", "--quantize=int8", "--calibration_images=0"),
    _export("a negative seed", "--trial=a", "--format=onnx", "--quantize=int8", "--calibration_seed=-1"),
    Case("latency of nothing", "latency"),
    Case("latency in a folder without trials", "latency --workdir rnus"),
    Case("latency of no images", "latency --workdir runs --batch 0"),
)
