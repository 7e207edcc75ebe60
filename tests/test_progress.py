from mnet_jax.progress import Progress
from mnet_jax.workdir import TrialFolder


def training(step):
    return {
        "step": step,
        "total_steps": 100,
        "batch_size": 50,
        "epoch": step / 10,
        "loss": 1.5,
        "images_per_second": 50,
    }


def test_a_log_has_a_line_per_evaluation_with_speed_and_time_left(tmp_path, capsys):
    folder = TrialFolder(tmp_path / "alpha=0.5-00000000")
    folder.create({})
    with Progress(num_trials=3, num_done=1) as progress:
        progress.show(folder)
        folder.set_status("running")
        folder.append_metrics(training(40))
        folder.append_metrics({"step": 40, "epoch": 4.0, "split": "validation", "top1": 0.75, "top5": 1.0, "loss": 1.0})
        progress.show(folder)
        progress.show(folder)
        folder.set_status("failed", "no disk")
        progress.show(folder)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line] == [
        "1 of 3 trials are done already",
        "[2/3] alpha=0.5-00000000",
        "  epoch   4.00  step 40/100  loss 1.5000  50 images/s  0:01:00 left  validation top-1 0.7500",
        "  failed: no disk",
    ]


def test_a_resumed_trial_repeats_no_line(tmp_path, capsys):
    folder = TrialFolder(tmp_path / "trial")
    folder.create({})
    evaluation = {"step": 40, "epoch": 4.0, "split": "validation", "top1": 0.75, "top5": 1.0, "loss": 1.0}
    for row in (training(40), evaluation, training(60)):
        folder.append_metrics(row)
    with Progress(1, 0) as progress:
        progress.show(folder)
        folder.keep_metrics_until(40)
        progress.show(folder)
        folder.append_metrics(training(50))
        folder.append_metrics(evaluation | {"step": 50, "epoch": 5.0, "top1": 0.8})
        progress.show(folder)
    printed = capsys.readouterr().out
    assert "0.7500" not in printed
    assert printed.count("validation top-1 0.8000") == 1
