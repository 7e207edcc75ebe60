"""The networks, by the name that `config.model.name` gives them, and their options."""

import contextlib
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp

from mnet_jax.errors import UserError, nearest
from mnet_jax.models import deeplab, mobilenet_v3
from mnet_jax.models.mobilenet_v1 import MobileNetV1
from mnet_jax.models.mobilenet_v2 import MobileNetV2

MODELS: dict[str, type[nn.Module]] = {
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v3_large": mobilenet_v3.MobileNetV3Large,
    "mobilenet_v3_small": mobilenet_v3.MobileNetV3Small,
    "mobilenet_v3_large_minimalistic": mobilenet_v3.MobileNetV3LargeMinimalistic,
    "mobilenet_v3_small_minimalistic": mobilenet_v3.MobileNetV3SmallMinimalistic,
    "deeplab_mobilenet_v1": deeplab.DeepLabMobileNetV1,
    "deeplab_mobilenet_v2": deeplab.DeepLabMobileNetV2,
}

BUILT_IN = tuple(MODELS)

CLASSIFICATION = "classification"

_is_deaf: list[bool] = []  # one for each `deaf` block that is open

_NO_OPTIONS = ("parent", "name", "num_classes", "platform")
_TAKEN = ("path", "spec", "fingerprint", "source")
_KINDS = (bool, int, float, str, tuple)


@dataclasses.dataclass(frozen=True)
class Option:
    """A field of a network's class that a config can set.

    Attributes:
      kind: int, float, bool, str or tuple.
      default: of the class; None where it is None or there is none.
      is_required: the class has no default.
    """

    kind: type
    default: object = None
    is_required: bool = False


def register(name: str, cls: type[nn.Module]) -> None:
    """Makes a Linen module known as `config.model.name`.

    Args:
      name: of the network.
      cls: has a field `num_classes`, and `__call__(x, train)` maps images (batch, height, width, channels) to logits
        (batch, num_classes); with a class attribute `TASK = "segmentation"` to logits of each pixel (batch, height,
        width, num_classes). The class again under its name is no error.

    Raises:
      UserError: it is no such class, or another network has the name.
    """
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        raise UserError(f"network {name!r}: {getattr(cls, '__name__', cls)!r} is no class of flax.linen.Module")
    if "num_classes" not in {field.name for field in dataclasses.fields(cls)}:
        raise UserError(f"network {name!r}: {cls.__name__} has no field num_classes")
    if "train" not in inspect.signature(cls.__call__).parameters:
        raise UserError(f"network {name!r}: {cls.__name__}.__call__ must take (x, train)")
    if _is_deaf:
        return
    known = MODELS.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise UserError(f"network {name!r}: the name is {known.__name__}'s already; choose another")
    options(cls)
    MODELS[name] = cls


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Inside, `register` does nothing: a file is executed again that has registered its networks already."""
    _is_deaf.append(True)
    try:
        yield
    finally:
        _is_deaf.pop()


def find(name: str) -> type[nn.Module]:
    """The class of a name.

    Raises:
      UserError: no network has it.
    """
    if name not in MODELS:
        raise UserError(f"config.model.name={name!r}{nearest(name, MODELS)} (known: {', '.join(MODELS)})")
    return MODELS[name]


def task(cls: type[nn.Module]) -> str:
    """What a network is for, one of the words of `config.task`: its class's `TASK`, or else classification."""
    return getattr(cls, "TASK", CLASSIFICATION)


def classifiers() -> tuple[str, ...]:
    """The names of the networks here that classify images."""
    return tuple(name for name in BUILT_IN if task(MODELS[name]) == CLASSIFICATION)


@functools.cache
def options(cls: type[nn.Module]) -> dict[str, Option]:
    """The options of a network: the fields of its class of type int, float, bool, str, tuple or Optional of these.

    `dtype` is one whatever its annotation, as "float32" or "bfloat16".

    Raises:
      UserError: a field of another type has no default.
    """
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:
        raise UserError(
            f"the annotations of {cls.__name__} cannot be read ({type(error).__name__}: {error})"
        ) from error
    found = {}
    for field in dataclasses.fields(cls):
        if not field.init or field.name in _NO_OPTIONS:
            continue
        if field.name in _TAKEN:
            raise UserError(
                f"{cls.__name__}.{field.name}: config.model.{field.name} says where a class stands; rename it"
            )
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        has_default = default is not dataclasses.MISSING
        default = default if has_default else None
        kind = str if field.name == "dtype" else _kind(hints.get(field.name))
        if kind is None:
            if not has_default:
                raise UserError(
                    f"{cls.__name__}.{field.name}: a field without default must be int, float, bool, str or tuple, it "
                    f"is {field.type}"
                )
            continue
        if field.name == "dtype":
            try:
                default = jnp.dtype(default).name if default is not None else None
            except TypeError as error:
                raise UserError(f"{cls.__name__}.dtype={default!r}: no dtype (such as jnp.float32)") from error
        elif kind is float and type(default) is int:
            default = float(default)
        found[field.name] = Option(kind, default, not has_default)
    return found


def build(model_config, cls: type[nn.Module] | None = None, platform: str = "cpu") -> nn.Module:
    """The network that `config.model` describes; fields left at None take the class's own default.

    Args:
      model_config: `config.model`.
      cls: the class; by default that of the name.
      platform: of the devices that will run it, as JAX names it; for classes that have a field `platform`.

    Raises:
      UserError: no network has the name `model_config.name`.
    """
    cls = cls or find(model_config.name)
    fields = {name: model_config.get(name) for name in options(cls) if model_config.get(name) is not None}
    if "platform" in {field.name for field in dataclasses.fields(cls)}:
        fields["platform"] = platform
    if "dtype" in fields:
        fields["dtype"] = jnp.dtype(fields["dtype"])
    return cls(num_classes=model_config.num_classes, **fields)


def abstract_variables(config) -> dict[str, typing.Any]:
    """Shapes of the variables of a resolved config's network, by collection; nothing is computed."""
    images = jax.ShapeDtypeStruct((1, config.input_size, config.input_size, config.data.channels), jnp.float32)
    init = functools.partial(build(config.model).init, train=False)
    return jax.eval_shape(init, jax.random.PRNGKey(0), images)


def _kind(hint) -> type | None:
    """The type of an option by its annotation; None for what is no option."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [_kind(part) for part in typing.get_args(hint) if part is not type(None)]
        return inner[0] if len(inner) == 1 else None
    hint = typing.get_origin(hint) or hint
    return hint if hint in _KINDS else None
