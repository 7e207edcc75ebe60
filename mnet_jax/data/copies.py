"""Prepared copies of data sets: where they are, and what is recorded beside them."""

import json
import os
import pathlib

from mnet_jax.errors import UserError

METADATA = "metadata.json"  # as TFDS calls it


def root(data) -> pathlib.Path:
    """Folder of prepared data sets: `config.data.data_dir`, or where TFDS has them."""
    return pathlib.Path(data.data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def is_prepared(folder: pathlib.Path) -> bool:
    return (folder / "dataset_info.json").is_file()


def metadata(folder: pathlib.Path) -> dict:
    """What was recorded beside a prepared copy.

    Raises:
      UserError: it is damaged.
    """
    try:
        return json.loads((folder / METADATA).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is damaged ({METADATA}: {error}): delete it, and it is prepared anew") from error
