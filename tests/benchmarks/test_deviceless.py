import json
import sys

import jax
import pytest

from benchmarks.deviceless import __main__ as command_of
from benchmarks.deviceless import targets
from benchmarks.deviceless.worker import Cell, steps_of

SMALL = ("--target", "cpu", "--alpha", 0.25, "--input_size", 32, "--batch_size", 4)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["deviceless", *map(str, arguments)])
    command_of.main()


@pytest.mark.slow
def test_a_step_is_compiled_beside_the_textbook_one(command, tmp_path):
    path = tmp_path / "report.json"
    done = command(
        "benchmarks.deviceless",
        *(*SMALL, "--model", "mobilenet_v2", "--devices", 4, "--step", "eval", "--json", path),
        *("--override", "model.num_classes=10", "train.ema_decay=0.9"),
    )
    assert done.returncode == 0, done.stderr
    assert "mobilenet_v2 0.25 at 32, batch 4 a device, bfloat16, eval, model.num_classes=10" in done.stdout
    assert "JAX_PLATFORMS=cpu JAX_ENABLE_COMPILATION_CACHE=false XLA_FLAGS='' JAX_NUM_CPU_DEVICES=4" in done.stdout
    report = json.loads(path.read_text())
    assert report["about"]["cpu"]["jax"] == jax.__version__
    (cell,) = report["cells"]
    textbook, fast = (cell["compiled"][layers] for layers in ("textbook", "fast"))
    for found in (textbook, fast):
        assert found["collectives"].keys() == {"all-reduce", "all-gather"}
        assert min(found[name] for name in ("bytes", "temporary_bytes", "compile_cpu_seconds")) > 0
        assert found["allocated_bytes"] > found["temporary_bytes"]
        assert found["estimated_cycles"] is None
    row = next(line for line in done.stdout.splitlines() if line.startswith("  fast"))
    assert f"({fast['temporary_bytes'] / textbook['temporary_bytes']:.2f})" in row
    assert row.endswith("1 all-gather 0.00 MB, 1 all-reduce 0.00 MB")


def test_a_step_that_does_not_compile_is_a_row_that_says_so(monkeypatch, tmp_path, capsys):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho killed by nobody >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    run(monkeypatch, *SMALL)
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split()[0] for row in rows] == ["textbook", "fast"]
    assert all(row.endswith("does not compile: exit code 3: killed by nobody") for row in rows)


def test_what_a_process_raises_is_found():
    cell = Cell("mobilenet_v1", 0.25, 32, "float32", 4, 1, "cpu", "eval", {"model.nonsense": "1"})
    assert command_of.compiled(cell, "fast")["error"].startswith("UserError: ")


def test_overrides_are_literals_or_words():
    overrides = {"optim.name": "rmsprop", "train.ema_decay": "0.9", "model.shallow": "True"}
    config = Cell("mobilenet_v1", 0.25, 32, "float32", 4, 1, "cpu", "eval", overrides).config("fast")
    assert (config.optim.name, config.train.ema_decay, config.model.shallow) == ("rmsprop", 0.9, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", -1], "config.model.alpha=-1.0: must be positive and finite"),
        (["--batch_size", 0], "--batch_size 0: must be positive"),
        (["--override", "model.nonsense=1"], "unknown field config.model.nonsense"),
        (["--override", "nonsense"], "'nonsense' is not FIELD=VALUE, such as train.ema_decay=0.9999"),
        (["--override", "model.alpha=1"], "'model.alpha=1': model.alpha is set by --alpha"),
        (["--devices", 3], "invalid choice: 3"),
        (["--target", "h200"], "invalid choice: 'h200'"),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, *SMALL, *arguments)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_plugin_that_is_missing_is_named(monkeypatch, capsys):
    monkeypatch.setitem(targets.TARGETS, "v5e", targets.Target("tpu", ("no-such-libtpu",)))
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "--target", "v5e")
    assert "error: --target v5e: no-such-libtpu is not installed" in capsys.readouterr().err


def test_steps_are_compiled_when_they_are_asked_for(resolved):
    steps = steps_of(resolved, jax.devices()[:1])
    assert callable(steps.train_step)
    assert callable(steps.eval_step)
