"""Names of data sets, the built-in ones and those that a config file or a notebook registers, and what is known of one.

Light, so that a config file can import it. The processes that train need not know a registered name: they open its
prepared copy by `config.data.fingerprint`.
"""

import contextlib
import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from mnet_jax.config.fields import FOLDERS
from mnet_jax.errors import UserError

BUILT_IN = (
    *("mnist5k", "fashion_mnist", "cifar10", "imagenet", "imagenet_validation"),
    *("scenes", "fashion_scenes"),
    *FOLDERS,
)

_NAME = re.compile(r"\w[\w.-]*", re.ASCII)

_functions: dict[str, Callable[[], Mapping]] = {}
_builders: dict[str, type] = {}
_is_deaf: list[bool] = []  # one for each `deaf` block that is open


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a data set; None where it is not.

    Attributes:
      class_names: by label.
      num_classes: labels are 0, ..., num_classes - 1.
      image_size: side in pixels, where all images are squares of one size.
      channels: 1 where all images are gray, else 3.
      fingerprint: of the content, where the name does not say it; names the prepared copy.
      has_masks: each image has a mask, a class for each pixel, in place of a label.
      largest_side: of the images, in pixels, where they have masks and differ in size.
    """

    class_names: tuple[str, ...] | None = None
    num_classes: int | None = None
    image_size: int | None = None
    channels: int | None = None
    fingerprint: str | None = None
    has_masks: bool = False
    largest_side: int | None = None


def with_classes(names: Sequence[str], **others) -> Facts:
    return Facts(class_names=tuple(names), num_classes=len(names), **others)


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Inside, `register_dataset` does nothing: a file is executed again that has registered its data already."""
    _is_deaf.append(True)
    try:
        yield
    finally:
        _is_deaf.pop()


def register_dataset(name: str, function: Callable[[], Mapping]) -> None:
    """Makes arrays in memory a data set that `config.data.name` can name.

    Args:
      name: of letters, digits, "_", "." and "-".
      function: called with nothing, when trials are planned and when the images are prepared; returns {"train":
        (images, labels), "test": (images, labels)} and may add "validation". Images are uint8 (N, height, width) or
        (N, height, width, 1 or 3), labels are integers (N,) from 0, each of which a training image has. The same
        function again takes its own place, also where a config file or a notebook cell defines it anew.

    Raises:
      UserError: another data set has that name, or the name or the function is none.
    """
    if _is_deaf:
        return
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise UserError(f"register_dataset: {name!r} is no name: it must consist of letters, digits, '_', '.' and '-'")
    if not callable(function):
        raise UserError(f"register_dataset({name!r}): {function!r} is no function")
    if name in BUILT_IN or (name in _functions and not _is_same(function, _functions[name])):
        raise UserError(f"register_dataset: there is another data set {name!r}; choose another name")
    _functions[name] = function


def register_builder(name: str, builder_class: type) -> None:
    """Makes a builder of TFDS's a data set that `config.data.name` can name.

    Args:
      name: such as "my_package.flowers:Flowers" or "flowers.py:Flowers".
      builder_class: a `tfds.core.GeneratorBasedBuilder` with the features "image" (8 bits) and "label" (a class or an
        integer). A class of the same name again takes its own place.

    Raises:
      UserError: the class is no such builder, or another data set has that name.
    """
    import tensorflow_datasets as tfds

    if not (isinstance(builder_class, type) and issubclass(builder_class, tfds.core.GeneratorBasedBuilder)):
        raise UserError(f"config.data.name={name!r}: {builder_class!r} is no tfds.core.GeneratorBasedBuilder")
    known = _builders.get(name)
    if name in (*BUILT_IN, *_functions) or (known and known.__qualname__ != builder_class.__qualname__):
        raise UserError(f"config.data.name={name!r}: there is another data set of this name")
    if "." not in builder_class.__module__ and builder_class.pkg_dir_path is None:
        # a file that is in no package: TFDS's `dataset_info_from_configs` then looks beside it
        builder_class.pkg_dir_path = tfds.core.Path(inspect.getfile(builder_class)).parent
    _builders[name] = builder_class


def known() -> tuple[str, ...]:
    """All names that `config.data.name` may have, the built-in ones first."""
    return (*BUILT_IN, *_functions, *_builders)


def is_known(name: str) -> bool:
    return name in known()


def function(name: str) -> Callable[[], Mapping] | None:
    """What was registered under a name, if it is known here."""
    return _functions.get(name)


def builder(name: str) -> type | None:
    """What was registered under a name, if it is known here."""
    return _builders.get(name)


def _is_same(one: Callable, other: Callable) -> bool:
    """Whether two functions are one, or the same definition that was executed twice."""
    return one is other or (_definition(one) is not None and _definition(one) == _definition(other))


def _definition(function: Callable) -> tuple | None:
    """Where a function is defined: by its line too where it has no name of its own."""
    if isinstance(function, functools.partial):
        inner = _definition(function.func)
        return inner and (*inner, function.args, function.keywords)
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    place = None if function.__module__ == "__main__" else code.co_filename  # each run of a notebook's cell has another
    line = code.co_firstlineno if "<" in function.__qualname__ else None
    return function.__module__, function.__qualname__, place, line
