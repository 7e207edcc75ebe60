"""MLflow: a run per trial in the experiment that is named like the workdir, at $MLFLOW_TRACKING_URI."""

import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from mnet_jax.sweep.trackers.contract import Point, Subject
from mnet_jax.workdir.files import DIVERGED, DONE, FAILED, TUNED, Workdir

_PATIENCE = {  # instead of minutes, where the user has not said so
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_ENDS = {DONE: "FINISHED", TUNED: "FINISHED", FAILED: "FAILED", DIVERGED: "FAILED"}
_KEY = "mnet_jax.key"
_MOST_METRICS, _MOST_PARAMS = 1000, 100  # of a request
_LONGEST = 500  # characters of a parameter


class _Run:
    def __init__(self, client, run_id: str):
        self._client, self._id = client, run_id
        data = client.get_run(run_id).data
        self.params = data.params
        self.sent = {
            name: max(metric.step for metric in client.get_metric_history(run_id, name)) for name in data.metrics
        }

    def log(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for step, values in points for name, value in values.items()]
        for batch in _batches(metrics, _MOST_METRICS):
            self._client.log_batch(self._id, metrics=batch)

    def set(self, fields: dict[str, Any]) -> None:
        """Sends the parameters that are not there: MLflow refuses to change one."""
        from mlflow.entities import Param

        params = [Param(name, str(value)[:_LONGEST]) for name, value in fields.items() if name not in self.params]
        for batch in _batches(params, _MOST_PARAMS):
            self._client.log_batch(self._id, params=batch)

    def show(self, pictures: Sequence[pathlib.Path], step: int) -> None:
        for path in pictures:
            self._client.log_artifact(self._id, str(path))

    def end(self, status: str) -> None:
        self._client.set_tag(self._id, "status", status)
        self._client.set_terminated(self._id, _ENDS.get(status, "KILLED"))


class _Mlflow:
    def __init__(self, workdir: Workdir):
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self._client = MlflowClient()
        name = workdir.path.absolute().name
        found = self._client.get_experiment_by_name(name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(name)

    def begin(self, subject: Subject) -> _Run:
        found = self._client.search_runs([self._experiment], f"tags.`{_KEY}` = '{subject.key}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
            self._client.update_run(run_id, status="RUNNING")
        else:
            tags = {_KEY: subject.key, **subject.tags}
            run_id = self._client.create_run(self._experiment, tags=tags, run_name=subject.name).info.run_id
        run = _Run(self._client, run_id)
        run.set(subject.fields)
        return run

    def close(self) -> None:
        pass


make = _Mlflow


def _batches(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]
