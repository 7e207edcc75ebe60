"""A network of one's own goes the whole road: config file, command, worker processes, table, evaluation, `load`."""

import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import mnet_jax
from mnet_jax.data import sources
from mnet_jax.workdir import results

NETWORK = '''
    import flax.linen as nn
    from layers_of_mine import normalised

    class Small(nn.Module):
        """GroupNorm, dropout, no batch statistics, no alpha."""
        num_classes: int
        width: int
        dropout: float = 0.1

        @nn.compact
        def __call__(self, x, train):
            x = nn.Conv(self.width, (3, 3), strides=2)(x)
            x = normalised(x).mean((1, 2))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
            return nn.Dense(self.num_classes)(x)
'''
LAYERS = """
    import flax.linen as nn

    def normalised(x):
        return nn.relu(nn.GroupNorm(num_groups=2)(x))
"""
CONFIG = """
    import mnet_jax
    from mnet_jax import presets
    {imports}

    def get_config():
        config = presets.get("mnist5k")
        config.model.name = {name!r}
        config.input_size = 16
        config.data.update(train_split="train[:256]", validation_split="validation[:72]", test_split="test[:100]")
        config.train.update(batch_size=64, epochs=2.0)
        config.sweep.model.width = (8, 16, 32)
        return config
"""
REGISTERED = ("from small import Small\n    mnet_jax.register_model('small', Small)", "small")
NAMED = ("", "small.py:Small")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "my nets"
    folder.mkdir()
    (folder / "small.py").write_text(textwrap.dedent(NETWORK))
    (folder / "layers_of_mine.py").write_text(textwrap.dedent(LAYERS))
    return folder


@pytest.fixture
def sweep(folder, tmp_path, data_dir, compilation_cache):
    """Runs the command in another folder than the repository and than the config's."""

    def run(how, *flags):
        imports, name = how
        (folder / "config.py").write_text(textwrap.dedent(CONFIG.format(imports=imports, name=name)))
        command = [sys.executable, "-m", "mnet_jax.sweep", "--config", folder / "config.py", "--workdir", "work"]
        environment = os.environ | {"TFDS_DATA_DIR": data_dir, "JAX_COMPILATION_CACHE_DIR": compilation_cache}
        return subprocess.run(
            [*command, *flags], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )

    return run


def mult_adds(width, taps=9):
    return 8 * 8 * taps * width + width * 10


@pytest.mark.slow
@pytest.mark.parametrize("how", [REGISTERED, NAMED], ids=["registered", "named"])
def test_its_sweep_ends_with_the_right_costs(sweep, tmp_path, how):
    done = sweep(how)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = results.read(tmp_path / "work" / "results.csv")
    assert [(row["status"], row["model"], row["alpha"]) for row in rows] == [("done", how[1], None)] * 3
    assert [row["model.width"] for row in rows] == [8, 16, 32]
    assert [row["mult_adds"] for row in rows] == [mult_adds(width) for width in (8, 16, 32)]
    assert [row["params"] for row in rows] == [width * (9 + 1 + 2) + width * 10 + 10 for width in (8, 16, 32)]
    assert len({row["replicate"] for row in rows}) == 3


@pytest.mark.slow
def test_after_its_source_changed_it_goes_on_only_when_told_to(sweep, folder, tmp_path, command):
    assert sweep(NAMED, "--config.sweep.model.width=(8,)").returncode == 0
    trial = next((tmp_path / "work" / "trials").iterdir())
    for path, before, after in (
        (folder / "layers_of_mine.py", "nn.relu", "nn.gelu"),
        (folder / "small.py", "(3, 3)", "(5, 5)"),
    ):
        path.write_text(path.read_text().replace(before, after))
    two = "--config.sweep.model.width=(8, 16)"
    refused = sweep(NAMED, two)
    assert refused.returncode == 2
    assert "the source of small.py:Small changed since trial" in refused.stderr
    assert "--accept_changed_model" in refused.stderr
    assert len(list(trial.parent.iterdir())) == 1, "nothing is started"
    accepted = sweep(NAMED, two, "--accept_changed_model")
    assert accepted.returncode == 0, accepted.stderr
    rows = results.read(tmp_path / "work" / "results.csv")
    assert [(row["status"], row["mult_adds"]) for row in rows] == [("done", mult_adds(8)), ("done", mult_adds(16, 25))]
    evaluated = command("mnet_jax.evaluate", "--workdir", tmp_path / "work")
    assert evaluated.returncode == 0, evaluated.stderr
    for row in rows:
        assert re.search(rf"{re.escape(row['trial'])} .*{row['top1']:.4f}", evaluated.stdout), evaluated.stdout
    again = sweep(NAMED, two)
    assert again.returncode == 0, "what was accepted stays so"
    path.write_text(path.read_text().replace("dropout: float = 0.1", "dropout: float = 0.2"))
    refused = sweep(NAMED, two, "--accept_changed_model")
    assert refused.returncode == 2
    assert "the default of dropout changed from 0.1 to 0.2 since trial width=8-" in refused.stderr
    assert sweep(NAMED, two, "--config.model.dropout=0.1", "--accept_changed_model").returncode == 0


@pytest.mark.slow
def test_it_can_be_loaded_after_its_file_is_gone(sweep, folder, tmp_path, command, monkeypatch):
    assert sweep(NAMED, "--config.sweep.model.width=(8,)").returncode == 0
    for path in folder.glob("*.py"):
        path.unlink()
    trial = next((tmp_path / "work" / "trials").iterdir())
    monkeypatch.chdir(trial)
    network = mnet_jax.load(".")
    assert network.module.width == 8
    examples = sources.open_split(network.config.data, "test[:100]")
    images = [examples[i]["image"] for i in range(100)]
    right = np.mean(network.predict(images).argmax(-1) == [examples[i]["label"] for i in range(100)])
    row = results.read(tmp_path / "work" / "results.csv")[0]
    assert right == pytest.approx(row["top1"])
    evaluated = command("mnet_jax.evaluate", "--workdir", tmp_path / "work")
    assert evaluated.returncode == 0, evaluated.stderr
    assert f"{row['top1']:.4f}" in evaluated.stdout
