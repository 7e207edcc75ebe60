"""A config file: executed once, refused in one line, with the command line's overrides."""

import pytest

from mnet_jax.config.file import load
from mnet_jax.config.resolve import resolve
from mnet_jax.errors import UserError
from mnet_jax.sweep.grid import expand
from tests.config.small_network import HELPERS, NETWORK


def test_a_config_file_is_executed_once(write):
    text = """
        from mnet_jax import presets
        SEEN = []

        def get_config():
            SEEN.append("get_config")
            return presets.get("mnist5k")

        def sweep(config):
            for seen in SEEN:
                yield {"seed": len(SEEN)}
    """
    file = load(write(config=text) / "config.py", overrides=[("train.epochs", "2")])
    assert file.trials() == [{"seed": 1}]
    assert file.config.train.epochs == 2.0
    assert file.config.chosen == ("train.epochs",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"a config file defines get_config\(dataset\)"),
        ("def get_config():\n    return None", "get_config must return a ConfigDict.*not None"),
        ("def get_config():\n    return {}", r"get_config must return a ConfigDict.*not \{\}"),
        ("def get_config():\n    raise KeyError('a')", r"line 2: KeyError: 'a'"),
        ("sweep = 3\ndef get_config():\n    pass", "sweep must be a function of the config that yields dicts; it is 3"),
        (
            "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'a': 1})",
            r"get_config must start from presets\.get",
        ),
    ],
)
def test_a_config_file_that_is_none_is_refused_in_one_line(write, text, message):
    with pytest.raises(UserError, match=message) as error:
        load(write(config=text) / "config.py")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", r"must yield dicts with dotted keys, not 3"),
        ("yield 'seed'", r"must be a dict with dotted keys, not 'seed'"),
        ("yield {1: 2}", r"must be a dict with dotted keys, not \{1: 2\}"),
        ("yield {}['x']", r"line 6: KeyError: 'x'"),
    ],
)
def test_a_sweep_that_yields_no_overrides_is_refused(write, body, message):
    text = f"""
        from mnet_jax import presets
        def get_config():
            return presets.get("mnist5k")
        def sweep(config):
            {body}
    """
    file = load(write(config=text) / "config.py")
    with pytest.raises(UserError, match=message):
        expand(file.config, file.trials())


def test_origins_say_who_set_a_field(write):
    text = """
        from mnet_jax import presets
        def get_config():
            config = presets.get("mnist5k")
            config.optim.momentum = 0.8
            return config
    """
    file = load(write(config=text) / "config.py", overrides=[("seed", "3"), ("train.epochs", "8.0")])
    origins = {key: (value, origin) for key, value, origin in file.origins()}
    assert origins["seed"] == (3, "flag")
    assert origins["train.epochs"] == (8.0, "flag")
    assert origins["optim.momentum"] == (0.8, "file")
    assert origins["train.batch_size"] == (32, "preset")
    assert origins["optim.schedule"] == ("cosine", "default")
    assert origins["model.bn_epsilon"] == (1e-3, "network")
    assert origins["data.mean"] == ((0.5,), "default")
    assert "model.residual" not in origins


def test_a_flag_sweeps_over_networks_of_ones_own_and_sets_their_options(write):
    config = """
        from mnet_jax.config import presets

        def get_config():
            return presets.get("mnist5k")
    """
    path = write(net=NETWORK, helpers=HELPERS, config=config) / "config.py"
    names = ("sweep.model.name", "('net.py:Net',)")
    file = load(path, overrides=[names, ("sweep.model.width", "(3, 5)")])
    assert sorted(trial.model.width for trial in expand(file.config).values()) == [3, 5]
    with pytest.raises(UserError, match=r"unknown field config\.sweep\.model\.widht: did you mean"):
        load(path, overrides=[names, ("sweep.model.widht", "(3, 5)")])


def test_a_linked_config_file_finds_what_lies_beside_its_target(write, tmp_path):
    """As Python does for a script; its name, after which the workdir is called, is the link's."""
    config = """
        import helpers
        from mnet_jax.config import presets

        def get_config():
            config = presets.get("mnist5k")
            config.model.name = "net.py:Net"
            return config
    """
    folder = write(net=NETWORK, helpers=HELPERS, config=config)
    link = tmp_path / "linked.py"
    link.symlink_to(folder / "config.py")
    file = load(link)
    assert file.path.stem == "linked"
    assert resolve(file.config).model.path == str(folder / "net.py")
