"""A trained network to take away, verified on the test split.

    trained = mnet_jax.load("runs/width/trials/alpha=0.25,seed=0-...")
    mnet_jax.export.to_onnx(trained, "model.onnx")

`to_onnx`, `to_stablehlo` and `to_safetensors` take what `mnet_jax.load` returns; `Calibration` is how int8 is made.
"""

from mnet_jax.export.formats import Calibration, Exported, to_onnx, to_safetensors, to_stablehlo

__all__ = ["Calibration", "Exported", "to_onnx", "to_safetensors", "to_stablehlo"]
