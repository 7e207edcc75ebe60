"""PyTorch, channels last: torchvision's MobileNetV2 and V3, and V1 written the same way, as torchvision has none."""

import torch
from torch import nn
from torch.nn import functional

from benchmarks.contenders import cpu_torchvision
from benchmarks.contenders.worker import Built
from benchmarks.task import Task

cpu_torchvision.make_importable()

import torchvision  # noqa: E402

_V1_BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]


def build(task: Task, compiled: bool) -> Built:
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    if task.model == "mobilenet_v1":
        model = _mobilenet_v1(task.alpha)
    else:
        model = getattr(torchvision.models, task.model)(width_mult=task.alpha)
    model = model.to(device, memory_format=torch.channels_last).train(not task.inference)
    images = torch.randn(task.batch_size, 3, task.input_size, task.input_size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(1000, (task.batch_size,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=4e-5)
    cast = torch.autocast(device.type, torch.bfloat16, enabled=task.dtype == "bfloat16")
    network = torch.compile(model) if compiled else model

    def train():
        optimizer.zero_grad()
        with cast:
            loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    def infer():
        with torch.inference_mode(), cast:
            network(images)

    def run(steps):
        for _ in range(steps):
            infer() if task.inference else train()
        if device.type == "cuda":
            torch.cuda.synchronize()

    about = {"torch": torch.__version__, "torchvision": torchvision.__version__, "device": _device_name(device)}
    return Built(run, lambda: torch.cuda.max_memory_allocated() if device.type == "cuda" else None, None, about)


def _conv_bn(channels: int, features: int, kernel_size: int, stride: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, features, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(features),
        nn.ReLU6(inplace=True),
    )


def _mobilenet_v1(alpha: float) -> nn.Sequential:
    channels = int(32 * alpha)
    layers = [_conv_bn(3, channels, 3, 2, 1)]
    for features, stride in _V1_BLOCKS:
        features = int(features * alpha)
        layers += [_conv_bn(channels, channels, 3, stride, channels), _conv_bn(channels, features, 1, 1, 1)]
        channels = features
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU ({torch.get_num_threads()} threads)"
