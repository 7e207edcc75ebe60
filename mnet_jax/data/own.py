"""Data of one's own: the raw images, and where their prepared copy is, whose name is the fingerprint of the content.

A process that knows `config.data.fingerprint` opens the copy without the raw images. Beside it, in `metadata.json`, is
what they said of themselves.
"""

import pathlib

from mnet_jax.data import copies, registry
from mnet_jax.data.registry import Facts
from mnet_jax.errors import UserError, nearest

_COPY = pathlib.Path("images", "1.0.0")  # name and version of `builders.Images`


def is_own(data) -> bool:
    """Whether the data set of `config.data` is a folder, registered arrays or a builder."""
    return data.tfds_name is None and (data.name in registry.FOLDERS or data.name not in registry.BUILT_IN)


def is_builder(data) -> bool:
    return registry.builder(data.name) is not None or ":" in str(data.name)


def copy_folder(data, fingerprint: str | None = None) -> pathlib.Path:
    """Where the prepared copy is, or will be.

    Args:
      data: `config.data`.
      fingerprint: of the content; by default `config.data.fingerprint`, or that of the raw images.

    Raises:
      UserError: `config.data.fingerprint` is not set, and the raw images are missing or wrong.
    """
    fingerprint = fingerprint or data.fingerprint or raw(data).facts.fingerprint
    if is_builder(data):
        return copies.root(data) / fingerprint
    kind = (data.name,) if data.name in registry.FOLDERS else ("arrays", data.name)
    return copies.root(data).joinpath(*kind, fingerprint, _COPY)


def facts(data) -> tuple[Facts, str | None]:
    """What the data set says of itself, and which images show that not all are squares of one size, or None.

    From the prepared copy where `config.data.fingerprint` names one, else from the raw images.

    Raises:
      UserError: the raw images are missing or wrong, or not those that `config.data.fingerprint` was found for.
    """
    if data.fingerprint and copies.is_prepared(copy_folder(data)):
        recorded = copies.metadata(copy_folder(data))
        names = recorded["class_names"]
        return (
            Facts(
                class_names=names and tuple(names),
                num_classes=recorded["num_classes"],
                image_size=recorded["image_size"],
                channels=recorded["channels"],
                fingerprint=data.fingerprint,
                has_masks=recorded.get("has_masks", False),  # of an earlier version, which had none
                largest_side=recorded.get("largest_side"),
            ),
            recorded["differing"],
        )
    if data.fingerprint is None and (function := registry.function(data.name)):
        from mnet_jax.data import arrays

        return arrays.facts(data.name, function)
    found = raw(data)
    return found.facts, found.differing


def raw(data, again: bool = False):
    """An `ImageFolder`, `MaskFolder` or `Arrays`, as they are now.

    Raises:
      UserError: they are missing or wrong, or not those that `config.data.fingerprint` was found for.
    """
    if data.name == "image_folder":
        from mnet_jax.data import image_folder

        found = image_folder.read(data, again)
    elif data.name in registry.FOLDERS:
        from mnet_jax.data import mask_folder

        found = mask_folder.read(data, again)
    elif function := registry.function(data.name):
        from mnet_jax.data import arrays

        if again:
            arrays.forget()
        found = arrays.read(data.name, function)
    else:
        raise unknown(data)
    if data.fingerprint and data.fingerprint != found.facts.fingerprint:
        raise UserError(
            f"data set {data.name}: the images have changed since the sweep started (config.data.fingerprint="
            f"{data.fingerprint!r}, now {found.facts.fingerprint!r}), and there is no copy of what they were in "
            f"{copies.root(data)}"
        )
    return found


def unknown(data) -> UserError:
    """That no data set of the name is known here."""
    if data.fingerprint:
        return UserError(f"data set {data.name} is not registered here, and {copy_folder(data)} is not prepared")
    known = registry.known()
    return UserError(f"config.data.name={data.name!r}{nearest(data.name, known)} (known: {', '.join(known)})")
