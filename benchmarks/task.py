"""What the contenders do: one step of one network."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Task:
    """
    Attributes:
      model: "mobilenet_v1", "mobilenet_v2" or, where the contender has it, "mobilenet_v3_large".
      alpha: width multiplier.
      input_size: in pixels.
      batch_size: images per step.
      dtype: of activations, "float32" or "bfloat16".
      inference: a forward pass in place of a training step.
    """

    model: str
    alpha: float
    input_size: int
    batch_size: int
    dtype: str = "float32"
    inference: bool = False

    def __str__(self) -> str:
        what = "inference" if self.inference else "training"
        return f"{self.model} {self.alpha:g} at {self.input_size}, batch {self.batch_size}, {self.dtype}, {what}"
