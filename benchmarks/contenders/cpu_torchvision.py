"""Importing torchvision beside a PyTorch for CPUs.

PyPI's torchvision is built for CUDA: there its operators do not load, and its import fails for want of two of them that
it registers functions for. The networks need none.
"""

import contextlib
import importlib.util
import pathlib

import torch


def make_importable() -> None:
    """Defines the operators that are missing; does nothing where torchvision is not installed or loads by itself."""
    torchvision = importlib.util.find_spec("torchvision")
    if not torchvision:
        return
    with contextlib.suppress(OSError):
        torch.ops.load_library(str(pathlib.Path(torchvision.origin).with_name("_C.so")))
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float iou) -> Tensor")
