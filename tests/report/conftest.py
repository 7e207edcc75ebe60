import pytest
from matplotlib.figure import Figure

from mnet_jax.report import plots
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws rows and returns the figures, the one over Mult-Adds first."""
    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: saved.append(self))

    def draw(rows):
        workdir = Workdir(tmp_path)
        columns = dict.fromkeys(key for row in rows for key in row)
        results.write(workdir, [dict.fromkeys(columns) | row for row in rows])
        saved.clear()
        plots.draw(workdir)
        return list(saved)

    return draw
