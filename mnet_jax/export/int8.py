"""An ONNX model in int8: onnxruntime's static quantisation, calibrated on training images."""

import logging
import os
import pathlib
import tempfile
from collections.abc import Iterable

import numpy as np
import onnx

from mnet_jax.export.program import PREPROCESSING, PROBABILITIES

_BATCH = 32  # images whose activations are in memory at once


def quantized(model: onnx.ModelProto, inputs: np.ndarray, per_channel: bool) -> onnx.ModelProto:
    """The model with weights in int8 and activations in uint8, as pairs of QuantizeLinear and DequantizeLinear.

    What stands around the network, preprocessing and probabilities, stays in float.

    Args:
      model: of float32.
      inputs: that activations are measured on, as the model takes them.
      per_channel: a scale for each output channel of the weights, not one for all of a layer.
    """
    from onnxruntime import quantization

    around = [node.name for node in model.graph.node if node.name.startswith((PREPROCESSING, PROBABILITIES))]
    level = logging.getLogger().level
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "float32.onnx"), pathlib.Path(folder, "int8.onnx")
        onnx.save(model, source)
        try:
            logging.getLogger().setLevel(logging.ERROR)  # it recommends a preparation that folding made needless
            quantization.quantize_static(
                os.fspath(source),
                os.fspath(target),
                _reader(quantization, model.graph.input[0].name, inputs),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=per_channel,
                nodes_to_exclude=around,
            )
        finally:
            logging.getLogger().setLevel(level)
        found = onnx.load(target)
    onnx.helper.set_model_props(found, {entry.key: entry.value for entry in model.metadata_props})
    return found


def _reader(quantization, name: str, inputs: np.ndarray):
    batches: Iterable = ({name: inputs[i : i + _BATCH]} for i in range(0, len(inputs), _BATCH))

    class Reader(quantization.CalibrationDataReader):
        def get_next(self):
            return next(batches, None)

    return Reader()
