"""What the tests of configs share."""

import textwrap

import pytest

from mnet_jax.models import registry
from tests.config.small_network import forget


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files into a folder with a blank in its name; forgets modules that were loaded from it."""
    folder = tmp_path / "my nets"
    folder.mkdir()
    before = dict(registry.MODELS)

    def write(**files):
        for name, text in files.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        return folder

    yield write
    forget(folder)
    registry.MODELS.clear()
    registry.MODELS.update(before)
