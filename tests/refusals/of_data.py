"""Data that are damaged, or are not there."""

import gzip
import io
import os
import pathlib
import struct
import tarfile

import numpy as np
from PIL import Image

from tests.refusals.case import Case, Content, config

_SWEEP = "sweep --config config.py --config.data.data_dir=tfds"


def _idx(shape: tuple[int, ...], kind: int = 8, values: int | None = None, largest: int = 10) -> bytes:
    """A gzipped idx file."""
    array = np.arange(np.prod(shape) if values is None else values) % largest
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def _fashion(what: str, name: str, content: bytes) -> Case:
    """Twenty clothes per split, but for one file."""
    files = {}
    for prefix in ("train", "t10k"):
        files |= {f"{prefix}-images-idx3-ubyte.gz": _idx((20, 28, 28)), f"{prefix}-labels-idx1-ubyte.gz": _idx((20,))}
    files = {f"raw/{name}": content for name, content in (files | {name: content}).items()}
    return Case(what, f"{_SWEEP} --config.data.source_dir=raw", files | _fashion_config, reads=True)


_fashion_config = {
    "config.py": config("config.data.update(train_split='train', validation_split='')", preset="fashion_mnist")
}


def _archive(lengths: dict[str, int], largest: int = 10) -> bytes:
    """A CIFAR archive, with members of some lengths."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, length in lengths.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = length
            tar.addfile(member, io.BytesIO(bytes([largest - 1]) * length))
    return file.getvalue()


_RECORD = 1 + 3 * 32 * 32
_MEMBERS = dict.fromkeys([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"], _RECORD)


def _cifar(what: str, content: bytes) -> Case:
    files = {"raw/cifar-10-binary.tar.gz": content, "config.py": config(preset="cifar10")}
    return Case(what, f"{_SWEEP} --config.data.source_dir=raw", files, reads=True)


def _picture(size: tuple[int, int] = (8, 8), mode: str = "RGB", kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind)
    return file.getvalue()


def _pictures(*folders: str) -> dict[str, Content]:
    return {f"raw/{folder}/{i}.png": _picture() for folder in folders for i in range(4)}


def _own(what: str, files: dict[str, Content], *fields: str) -> Case:
    flags = "".join(f" --config.{field}" for field in ("data.source_dir=raw", *fields))
    return Case(what, _SWEEP + flags, files | {"config.py": config(preset="image_folder")}, reads=True)


_TWO = _pictures("a", "b")
_SPLITS = _pictures("train/a", "train/b", "test/a", "test/b")


def _mask(size: tuple[int, int] = (8, 8), values: range = range(2), mode: str = "L") -> bytes:
    labels = np.resize(np.array(values, np.uint8), size[::-1])
    file = io.BytesIO()
    Image.fromarray(labels).convert(mode).save(file, "PNG")
    return file.getvalue()


_PHOTOS = {f"raw/images/{i}.png": _picture() for i in range(8)}
_MASKS = {f"raw/masks/{i}.png": _mask() for i in range(8)}


def _of_masks(what: str, files: dict[str, Content]) -> Case:
    """Eight photos and their masks of two classes, but for some files."""
    files = {"raw/classes.txt": "background\nroad\n"} | _PHOTOS | _MASKS | files
    return Case(
        what, f"{_SWEEP} --config.data.source_dir=raw", files | {"config.py": config(preset="mask_folder")}, reads=True
    )


def _arrays(what: str, returned: str) -> Case:
    text = (
        "import mnet_jax\nimport numpy as np\n\n\ndef make(images, labels):\n"
        f"    return {returned}\n\n\n"
        "mnet_jax.register_dataset('mine', lambda: make(np.zeros((6, 8, 8), np.uint8), np.arange(6) % 2))\n"
    )
    body = config("config.data.name = 'mine'", preset="image_folder")
    return Case(what, _SWEEP, {"config.py": text + body}, reads=True)


CASES = (
    _fashion("an idx file that is not gzipped", "train-images-idx3-ubyte.gz", b"\0\0\10\3" + bytes(100)),
    _fashion("an idx file that is cut", "train-images-idx3-ubyte.gz", _idx((20, 28, 28))[:-30]),
    _fashion("an idx file of floats", "t10k-images-idx3-ubyte.gz", _idx((20, 28, 28), kind=13)),
    _fashion("an idx file shorter than its head says", "train-images-idx3-ubyte.gz", _idx((20, 28, 28), values=1000)),
    _fashion("gzipped text", "train-labels-idx1-ubyte.gz", gzip.compress(b"labels\n")),
    _fashion("images of 20 x 20", "train-images-idx3-ubyte.gz", _idx((20, 20, 20))),
    _fashion("fewer labels than images", "t10k-labels-idx1-ubyte.gz", _idx((19,))),
    _fashion("labels out of range", "train-labels-idx1-ubyte.gz", _idx((20,), largest=12)),
    Case("raw files that are not there", f"{_SWEEP} --config.data.source_dir=raw", _fashion_config),
    _cifar("an archive that is none", b"no archive"),
    _cifar("an archive that is cut", _archive(_MEMBERS)[:-20]),
    _cifar("an archive without a member", _archive({"data_batch_1.bin": _RECORD})),
    _cifar("a member of half a record", _archive(_MEMBERS | {"test_batch.bin": 100})),
    _cifar("labels of an archive out of range", _archive(_MEMBERS, largest=12)),
    Case("no archive", _SWEEP, {"config.py": config(preset="cifar10")}),
    Case("no folder of ImageNet", _SWEEP, {"config.py": config(preset="imagenet")}),
    Case(
        "a folder without ImageNet",
        f"{_SWEEP} --config.data.source_dir=raw",
        {"config.py": config(preset="imagenet"), "raw/notes.txt": "none"},
    ),
    Case(
        "a class that val/ lacks",
        f"{_SWEEP} --config.data.source_dir=raw",
        {"config.py": config(preset="imagenet")} | _pictures("train/a", "train/b", "val/a"),
    ),
    Case(
        "a TFDS data set that there is not",
        f"{_SWEEP} --config.data.tfds_name=no_such_set",
        {"config.py": config()},
        reads=True,
    ),
    _own("a folder of images that is not there", {}),
    _own("a folder without classes", {"raw/notes.txt": "none"}),
    _own("one class", _pictures("a")),
    _own("an empty class", _TWO | {"raw/c": pathlib.Path.mkdir}),
    _own("a class that test/ lacks", _pictures("train/a", "train/b", "test/a")),
    _own("a class that only test/ has", _SPLITS | _pictures("test/c")),
    _own("a misspelt split", _pictures("trian/a", "trian/b", "test/a", "test/b")),
    _own("two validation splits", _SPLITS | _pictures("val/a", "val/b", "validation/a", "validation/b")),
    _own("fractions that leave nothing", _TWO, "data.test_fraction=0.5", "data.validation_fraction=0.5"),
    _own("a split that there will not be", _SPLITS, "data.validation_fraction=0"),
    _own("a class whose name is no UTF-8", _TWO | {os.fsdecode(b"raw/\xff/0.png"): _picture()}),
    _own("a file of classes that is not there", _TWO, "data.classes=classes.txt"),
    _own("a file of classes with another one", _TWO | {"classes.txt": "a\nbb\n"}, "data.classes=classes.txt"),
    _own("a file of classes that lacks one", _TWO | {"classes.txt": "a\n"}, "data.classes=classes.txt"),
    _own("a file of classes with one twice", _TWO | {"classes.txt": "a\nb\na\n"}, "data.classes=classes.txt"),
    Case("a file of classes of digits", f"{_SWEEP} --config.data.classes=classes.txt", {"config.py": config()}),
    _own("images of several sizes without a crop", _TWO | {"raw/b/5.png": _picture((9, 9))}, "data.crop=none"),
    _own("another number of classes than folders", _TWO, "model.num_classes=3"),
    _own("a data_dir inside the images", _TWO, "data.data_dir=raw/tfds"),
    Case(
        "a workdir inside the images",
        f"{_SWEEP} --config.data.source_dir=raw --workdir raw/runs",
        _TWO | {"config.py": config(preset="image_folder")},
        reads=True,
    ),
    _own("a data_dir that is a file", _TWO | {"notes.txt": "none"}, "data.data_dir=notes.txt"),
    _of_masks("a mask of another size", {"raw/masks/7.png": _mask((9, 8))}),
    _of_masks("an interpolated mask", {"raw/masks/7.png": _mask(values=range(0, 250, 50))}),
    _of_masks("a mask of colours", {"raw/masks/7.png": _mask(mode="RGB")}),
    _of_masks("a mask that is void all over", {"raw/masks/7.png": _mask(values=range(255, 256))}),
    _of_masks("a list of a missing image", {"raw/train.txt": "0\n1\n77\n", "raw/test.txt": "2\n"}),
    _of_masks("classes that nobody names", {"raw/classes.txt": "background\n"}),
    _arrays("arrays that are none", "None"),
    _arrays("arrays without a test split", "{'train': (images, labels)}"),
    _arrays("arrays of floats", "{'train': (images / 255, labels), 'test': (images, labels)}"),
    _arrays("arrays of five channels", "{'train': (images.repeat(5).reshape(6, 8, 8, 5), labels), 'test': ()}"),
    _arrays("arrays of unequal length", "{'train': (images, labels[1:]), 'test': (images, labels)}"),
    _arrays("labels that count from 1", "{'train': (images, labels + 1), 'test': (images, labels + 1)}"),
    _arrays("labels with a gap", "{'train': (images, 2 * labels), 'test': (images, labels)}"),
    _arrays("labels of floats", "{'train': (images, labels / 1), 'test': (images, labels)}"),
    _arrays("a label that only the test split has", "{'train': (images, labels), 'test': (images, labels + 1)}"),
    _arrays("a function that raises", "images.shape[5]"),
)
