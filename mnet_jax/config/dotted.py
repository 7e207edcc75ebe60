"""A nested config by dotted keys, and back from the JSON that a trial keeps."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config.fields import BY_KEY, FIELDS
from mnet_jax.errors import UserError, nearest

_NODES = (ConfigDict, dict, Mapping)  # the last takes long to look for


def flatten(config: ConfigDict | Mapping, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted key, in the config's order."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, _NODES):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def set_field(config: ConfigDict, key: str, value: Any) -> None:
    """Sets a dotted key to a value of the field's own type.

    Raises:
      UserError: there is no such field, or the value is of another type.
    """
    *path, leaf = key.split(".")
    node = config
    for i, name in enumerate((*path, leaf)):
        if not isinstance(node, ConfigDict) or name not in node:
            prefix = "".join(f"{part}." for part in path[:i])
            known = list(node) if isinstance(node, ConfigDict) else []
            raise UserError(f"unknown field config.{key}{nearest(name, known, prefix)}")
        parent, node = node, node[name]
    if isinstance(parent[leaf], ConfigDict):
        raise UserError(f"config.{key} is a group: set its fields, such as config.{key}.{next(iter(parent[leaf]))}")
    if value is None and (key not in BY_KEY or BY_KEY[key].default is None):
        with parent.ignore_type():
            parent[leaf] = None
        return
    kind = parent.get_type(leaf)
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"config.{key}={value!r}: must be of type {kind.__name__}")
    parent[leaf] = value


def from_json(text: str) -> ConfigDict:
    """The resolved config that `config.json` holds; fields that came later stand at their defaults."""

    def tuples(node):
        if isinstance(node, dict):
            return {key: tuples(value) for key, value in node.items()}
        return tuple(node) if isinstance(node, list) else node

    config = ConfigDict(tuples(json.loads(text)))
    for field in FIELDS:
        *groups, leaf = field.key.split(".")
        node = config
        for group in groups:
            if group not in node:
                node[group] = ConfigDict()
            node = node[group]
        if leaf not in node:
            node[leaf] = field.default
    return config.lock()
