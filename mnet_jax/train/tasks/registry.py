"""The tasks, by the name that `config.task` gives them."""

from mnet_jax.config.tasks import TASKS
from mnet_jax.train.tasks.classification import Classification
from mnet_jax.train.tasks.contract import Task
from mnet_jax.train.tasks.segmentation import Segmentation

_TASKS: dict[str, type[Task]] = {"classification": Classification, "segmentation": Segmentation}


def task_of(config) -> Task:
    """The task of a resolved config; one from before the field was there classifies."""
    return _TASKS[getattr(config, "task", TASKS[0])](config)
