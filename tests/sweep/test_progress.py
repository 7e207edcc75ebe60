import subprocess
import sys

from mnet_jax.sweep import progress
from mnet_jax.sweep.progress import Progress
from mnet_jax.workdir.files import TrialFolder


def training(step, loss=1.5):
    return {"step": step, "total_steps": 100, "epoch": step / 10, "loss": loss, "steps_per_second": 1.0}


def evaluation(step, top1):
    return {"step": step, "epoch": step / 10, "split": "validation", "top1": top1, "top5": 1.0, "loss": 1.0}


def folder_of(tmp_path, name):
    folder = TrialFolder(tmp_path / name)
    folder.create({})
    return folder


def lines(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line]


def test_a_log_has_a_line_per_start_evaluation_and_end(tmp_path, capsys):
    folder = folder_of(tmp_path, "alpha=0.5-00000000")
    with Progress(num_trials=3, num_done=1) as shown:
        shown.show(folder)
        folder.set_status("running")
        folder.append_metrics(training(40))
        folder.append_metrics(evaluation(40, 0.75))
        shown.show(folder)
        shown.show(folder)
        folder.set_status("failed", "no disk")
        shown.show(folder)
    assert lines(capsys) == [
        "1 of 3 trials are done already",
        "alpha=0.5: started",
        "alpha=0.5: epoch 4.00, 0:01:00 left: validation top-1 0.7500",
        "[2/3] alpha=0.5: failed: no disk",
    ]


def test_trials_that_share_a_stream_share_a_line(tmp_path):
    shown = Progress(num_trials=3, num_done=0)
    for name, step, loss in (("a-0", 40, 1.5), ("b-0", 40, 0.25), ("c-0", 30, 2.0)):
        folder = folder_of(tmp_path, name)
        folder.set_status("running")
        shown.show(folder)
        folder.append_metrics(training(step, loss))
        shown.show(folder)
    assert shown._running() == [
        "  2 trials: epoch 4.0, 40/100, loss 0.25 to 1.50, 0:01:00 left",
        "  1 trial: epoch 3.0, 30/100, loss 2.00, 0:01:10 left",
    ]
    long = {"step": 100_000, "total_steps": 400_000, "epoch": 100.0, "loss": 1.5, "steps_per_second": 2.0}
    assert len(progress._line([long] * 16)) <= 80


def test_a_group_whose_process_ended_says_that_it_starts_again(tmp_path, capsys):
    folder = folder_of(tmp_path, "alpha=0.5-00000000")
    with Progress(1, 0) as shown:
        for status, error in (("running", None), ("queued", "the process ended by SIGKILL; it starts again")):
            folder.set_status(status, error)
            shown.show(folder)
    assert lines(capsys)[-1] == "alpha=0.5: the process ended by SIGKILL; it starts again"


def test_a_resumed_trial_repeats_no_line(tmp_path, capsys):
    folder = folder_of(tmp_path, "trial-0")
    for row in (training(40), evaluation(40, 0.75), training(60)):
        folder.append_metrics(row)
    with Progress(1, 0) as shown:
        shown.show(folder)
        folder.keep_metrics_until(40)
        shown.show(folder)
        folder.append_metrics(training(50))
        folder.append_metrics(evaluation(50, 0.8))
        shown.show(folder)
    printed = capsys.readouterr().out
    assert "0.7500" not in printed
    assert printed.count("validation top-1 0.8000") == 1


def test_a_reader_that_has_gone_ends_nothing(tmp_path):
    """As in `python -m mnet_jax.sweep ... | head -1`."""
    code = (
        "import os, sys; from mnet_jax.sweep.progress import Progress\n"
        "with Progress(1, 0) as shown:\n"
        "    shown.say('first'); sys.stdin.readline()\n"
        "    for i in range(1000): shown.say('more')\n"
        "print('went on', file=sys.stderr)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as process:
        assert process.stdout.readline() == "first\n"
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stderr.read() == "went on\n"
    assert process.returncode == 0
