"""What all commands share, in this process: arguments in, a config file out, one line for a mistake."""

import os
import signal
import subprocess
import sys

import pytest
from absl import flags

from mnet_jax import cli
from mnet_jax.errors import UserError
from tests.conftest import REPOSITORY

WIDTH = str(REPOSITORY / "configs" / "width.py")


@pytest.fixture
def parse(monkeypatch):
    """The config file of a command line, with flags of its own as every process has them."""
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    define = flags.DEFINE_bool
    monkeypatch.setattr(flags, "DEFINE_bool", lambda *args: define(*args, flag_values=values))
    flags.DEFINE_string("workdir", None, "Folder.", flag_values=values)

    def parse(*arguments):
        return cli._parse(["command", *arguments], True, "")[1]

    return parse


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", WIDTH, "--config.train.epochs=3", "--config.data.flip"],
        [f"--config={WIDTH}", "--config.train.epochs", "3", "--config.data.flip=true"],
        ["--config.train.epochs=3", "-config", WIDTH, "--config.data.flip", "--workdir", "w"],
    ],
)
def test_overrides_are_written_as_absl_takes_them(parse, arguments):
    config = parse(*arguments).config
    assert (config.train.epochs, config.data.flip) == (3.0, True)


def test_tuples_and_negations(parse):
    config = parse(
        "--config", WIDTH, "--config.sweep.model.alpha=(1.0,0.5)", "--config.sweep.seed=(0,1)", "--noconfig.data.flip"
    ).config
    assert (config.sweep.model.alpha, config.sweep.seed, config.data.flip) == ((1.0, 0.5), (0, 1), False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config FILE is missing"),
        (["--config"], "--config FILE is missing"),
        (["--config", WIDTH, "--config.model.alhpa=1"], "unknown field config.model.alhpa: did you mean model.alpha"),
        (["--config", WIDTH, "--config.alpha=1"], "unknown field config.alpha: did you mean model.alpha"),
        (["--config", WIDTH, "--config.sweep.model.alhpa=(1,)"], "did you mean sweep.model.alpha"),
        (["--config", WIDTH, "--config.train.epochs=many"], "config.train.epochs='many': must be of type float"),
        (["--config", WIDTH, "--config.data.fingerprint=x"], "config.data.fingerprint cannot be set"),
        (["--config", WIDTH, "--workdri=x"], "Did you mean: workdir"),
        (["--config", WIDTH, "stray"], "unexpected argument 'stray'"),
    ],
)
def test_a_mistake_is_one_line(parse, arguments, message):
    with pytest.raises(UserError, match=message) as error:
        parse(*arguments)
    assert "\n" not in str(error.value)


def test_a_networks_options_can_be_set_and_swept_from_the_command_line(parse):
    own = str(REPOSITORY / "configs" / "own_network.py")
    arguments = ["--config.model.name=residual_net", "--config.model.width=8", "--config.sweep.model.depth=(1,2)"]
    config = parse("--config", own, *arguments).config
    assert (config.model.width, config.sweep.model.depth) == (8, (1, 2))


@pytest.mark.parametrize("module", ["sweep", "train", "cost", "evaluate", "data.prepare"])
def test_help_says_what_the_command_takes(command, module):
    done = command(f"mnet_jax.{module}", "--help")
    assert done.returncode == 0, done.stderr
    assert f"python -m mnet_jax.{module}" in done.stdout
    assert "--config FILE[:PRESET]" in done.stdout
    assert "\n    optim.learning_rate: Highest learning rate.\n" in done.stdout


def test_print_config_shows_values_and_origins_and_does_nothing(command, tmp_path):
    done = command(
        "mnet_jax.sweep", "--config", WIDTH, "--config.seed=3", "--workdir", tmp_path / "w", "--print_config"
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    origins = {key: rest.split() for key, rest in rows}
    assert origins["seed"] == ["3", "flag"]
    assert origins["train.batch_size"] == ["32", "preset"]
    assert origins["sweep.model.alpha"][-1] == "file"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [("--print_config",), ("--dry_run", "--config.sweep.seed=" + str(tuple(range(400))))]
)
def test_a_reader_that_has_gone_is_no_error(arguments, tmp_path):
    """As in `... | head -1`: nothing on stderr."""
    command = [sys.executable, "-m", "mnet_jax.sweep", "--config", WIDTH, "--workdir", tmp_path / "w", *arguments]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_terminal_without_letters_shows_them_escaped(command, tmp_path):
    (tmp_path / "größe.py").write_text("def get_config():\n    raise ValueError('Größe')\n")
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = command("mnet_jax.sweep", "--config", os.fspath(tmp_path / "größe.py"), env_extra=ascii_only)
    assert done.returncode == 2
    assert "ValueError: Gr\\xf6\\xdfe" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def hears_ctrl_c():
    """Children of a process in a shell's background would not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_is_one_line_while_a_config_is_read(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\n\n\ndef get_config():\n    print('reading', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-m", "mnet_jax.cost", "--config", tmp_path / "slow.py"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "error: stopped by Ctrl-C\n"
    assert process.returncode == 130
