"""A real sweep that is killed and resumed, as TensorBoard, an MLflow server and W&B's offline files have it."""

import collections
import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from mnet_jax.sweep.trackers.wandb import records
from mnet_jax.workdir.files import Workdir
from tests.processes import finish, kill_all, logs, start, wait_for

pytestmark = pytest.mark.slow

_CLOCKED = ("train/images_per_second", "train/steps_per_second")  # differ where a step was trained again


def needs(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


TENSORBOARD = needs("tensorboardX", "tensorboard")
MLFLOW = needs("mlflow", "flask")
WANDB = needs("wandb")
ALL = {"tensorboard": TENSORBOARD, "mlflow": MLFLOW, "wandb": WANDB}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of an MLflow server with SQLite on this machine; none where it is not installed."""
    if MLFLOW.args[0]:
        yield None
        return
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [*command, "--workers", "1"],
            cwd=folder,
            stdout=log,
            stderr=log,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        )

    def answers():
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
        return False

    try:
        wait_for(answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        kill_all(process)
        process.wait()


@pytest.fixture(scope="module")
def flag():
    return f"--config.launch.trackers={tuple(name for name, mark in ALL.items() if not mark.args[0])}"


@pytest.fixture(scope="module")
def environment(data_dir, compilation_cache, server):
    own = {"TINY_DATA_DIR": data_dir, "JAX_COMPILATION_CACHE_DIR": compilation_cache, "WANDB_MODE": "offline"}
    return os.environ | own | ({"MLFLOW_TRACKING_URI": server} if server else {})


@pytest.fixture(scope="module")
def workdir(environment, flag, tmp_path_factory):
    """Killed after it has sent something, resumed, and run once more."""
    workdir = tmp_path_factory.mktemp("tracked")
    process = start(environment, workdir, "two_sizes", flag)
    names = [name for name, mark in ALL.items() if not mark.args[0]]

    def has_sent():
        marks = [path for name in names for path in workdir.glob(f"trials/*/tracked-{name}.json")]
        sent = [json.loads(path.read_text())["sent"] for path in marks]
        return len(sent) == 2 * len(names) and all(sent)

    wait_for(lambda: has_sent() or process.poll() is not None)
    kill_all(process)
    process.communicate()
    for _ in range(2):
        code, output = finish(environment, workdir, "two_sizes", flag)
        assert code == 0, output + logs(workdir)
        assert "warning: tracker" not in output, (output, *(p.read_text() for p in workdir.glob("output/tracker*")))
    return workdir


def expected(folder):
    """Each number of metrics.jsonl and of the result, by name and step."""
    found = {}
    for row in folder.metrics():
        split = row.get("split", "train")
        numbers = {key: value for key, value in row.items() if key not in ("step", "split", "total_steps")}
        found |= {(f"{split}/{key}", row["step"]): value for key, value in numbers.items()}
    result = folder.result()
    found |= {(f"test/{key}", result["steps"]): result[key] for key in ("top1", "top5", "loss")}
    return found | {(f"cost/{key}", result["steps"]): folder.cost()[key] for key in ("mult_adds", "params")}


def assert_is(points, folder):
    """Each (name, step, value) once, and equal to the files, in float32."""
    assert {key: n for key, n in collections.Counter((name, step) for name, step, _ in points).items() if n > 1} == {}
    values, wanted = {(name, step): value for name, step, value in points}, expected(folder)
    assert values.keys() == wanted.keys()
    compared = [key for key in wanted if key[0] not in _CLOCKED]
    assert [values[key] for key in compared] == pytest.approx([wanted[key] for key in compared], rel=1e-6)


def trials(workdir):
    found = [Workdir(workdir).trial(name) for name in Workdir(workdir).trial_names()]
    assert len(found) == 2
    return found


@TENSORBOARD
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_each_step_once(workdir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for folder in trials(workdir):
        events = EventAccumulator(str(workdir / "tensorboard" / folder.name), size_guidance={"scalars": 0}).Reload()
        points = [(tag, event.step, event.value) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]
        assert_is(points, folder)
        assert "_hparams_/session_start_info" in events.summary_metadata
    pictures = EventAccumulator(str(workdir / "tensorboard" / "sweep")).Reload()
    assert set(pictures.Tags()["images"]) == {"accuracy_vs_mult_adds", "accuracy_vs_params"}
    assert pictures.Images("accuracy_vs_params")[0].width > 100


@MLFLOW
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_has_one_run_per_trial_and_each_step_once(workdir, server):
    from mlflow import MlflowClient

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(workdir.name)
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    folders = trials(workdir)
    assert runs.keys() == {"sweep", *(folder.name for folder in folders)}
    for folder in folders:
        run = runs[folder.name]
        history = [metric for name in run.data.metrics for metric in client.get_metric_history(run.info.run_id, name)]
        assert_is([(metric.key, metric.step, metric.value) for metric in history], folder)
        assert run.info.status == "FINISHED"
        assert run.data.params["input_size"] == str(folder.config()["input_size"])
        assert run.data.params["mult_adds"] == str(folder.cost()["mult_adds"])
        assert run.data.tags["status"] == "done"
        assert run.data.tags["sweep"] == workdir.name
    pictures = {file.path for file in client.list_artifacts(runs["sweep"].info.run_id)}
    assert pictures == {"accuracy_vs_mult_adds.png", "accuracy_vs_params.png"}


@WANDB
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wandb_has_one_id_per_trial_and_each_step_once(workdir):
    from wandb.proto.wandb_internal_pb2 import Record

    for folder in trials(workdir):
        key = json.loads((folder.path / "tracked-wandb.json").read_text())["key"]
        files = sorted(workdir.glob(f"wandb/offline-run-*-{key}/run-{key}.wandb"))
        assert files
        points, starts = [], []
        for record in (Record.FromString(part) for path in files for part in records(path.read_bytes())):
            if record.HasField("run"):
                starts.append((record.run.run_id, record.run.display_name, record.run.run_group, record.run.project))
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            numbers = {name: value for name, value in items.items() if not name.startswith("_") and name != "step"}
            points += [(name, items["step"], value) for name, value in numbers.items()]
        assert set(starts) == {(key, folder.name, workdir.name, "mnet_jax")}
        assert_is(points, folder)


@MLFLOW
def test_a_server_that_is_gone_costs_one_line_and_little_time(workdir, environment, tmp_path):
    shutil.copytree(workdir, tmp_path / "w")
    for mark in (tmp_path / "w").rglob("tracked-*"):
        mark.unlink()

    def seconds(*flags):
        began = time.monotonic()
        code, output = finish(gone, tmp_path / "w", "two_sizes", *flags)
        assert code == 0, output
        return output, time.monotonic() - began

    gone = environment | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    _, without = seconds()
    output, took = seconds("--config.launch.trackers=('mlflow',)")
    assert output.count("warning: tracker mlflow: ") == 1
    assert output.count("mlflow") == output.count("mlflow", output.index("warning: tracker mlflow"))
    assert "2 of 2 trials done" in output
    assert took < without + 30
