"""Images that cannot be decoded: counted, named in the log, and too many at last."""

import logging
import os
import threading

from mnet_jax.data.decode import BadImage
from mnet_jax.errors import UserError

_log = logging.getLogger(__name__)


class Damage:
    """The damaged images that were met in one split, each counted once; for several threads."""

    def __init__(self, data):
        self._data, self._found, self._lock = data, {}, threading.Lock()

    def add(self, index: int, example: dict, error: BadImage) -> None:
        """Notes an example of the split and what is wrong with it.

        Raises:
          UserError: there are more than `config.data.max_bad_images`.
        """
        with self._lock:
            is_new = index not in self._found
            self._found[index] = f"{os.fsdecode(example.get('file_name', f'number {index}'))} ({error})"
            names = list(self._found.values())
        if is_new:
            _log.warning("data set %s: skipped damaged image %d: %s", self._data.name, len(names), names[-1])
        if len(names) > self._data.max_bad_images:
            raise UserError(
                f"data set {self._data.name}: more than config.data.max_bad_images={self._data.max_bad_images} "
                f"damaged images: {', '.join(names)}"
            ) from error
