"""The fields that say where trials run, and that cannot change a result."""

import dataclasses
from typing import Any

from mnet_jax.config.field import NOT_NEGATIVE, POSITIVE, Choices, Field, never

LAUNCHERS = ("local", "ray", "slurm")
TRACKERS = ("tensorboard", "mlflow", "wandb")


@dataclasses.dataclass(frozen=True)
class _OrOwn(Choices):
    """Words, or where something of one's own is."""

    @property
    def text(self) -> str:
        return f"{super().text}, or package.module:function"

    def complaint(self, value: Any) -> str | None:
        return None if ":" in value else super().complaint(value)


@dataclasses.dataclass(frozen=True)
class _Some(Choices):
    """Any of the words."""

    @property
    def text(self) -> str:
        return f"some of {', '.join(self.known)}"

    def complaint(self, value: Any) -> str | None:
        return next(filter(None, map(super().complaint, map(str, value))), None)


def _field(key: str, kind: type, default: Any, text: str, rule=None) -> Field:
    return Field(f"launch.{key}", kind, default, text, rule, has_effect=never)


LAUNCH = (
    _field("launcher", str, "local", "How groups of trials are run.", _OrOwn(LAUNCHERS)),
    _field("trials_per_stream", int, 16, "Most trials that train in one process.", POSITIVE),
    _field(
        "devices_per_group", int, None, "Devices of a process; by default one GPU, or all of another kind.", POSITIVE
    ),
    _field("hosts_per_group", int, 1, "Hosts that train a group together, each with as many devices.", POSITIVE),
    _field("trackers", tuple, (), "Where the numbers of trials are shown as well.", _Some(TRACKERS)),
    _field("coordinator", str, None, "HOST:PORT of process 0, or auto, to train one trial on several hosts."),
    _field("num_processes", int, None, "Of that trial.", POSITIVE),
    _field("process_id", int, None, "Of this process.", NOT_NEGATIVE),
    _field("ray.address", str, None, "HOST:PORT of a Ray cluster, or auto; else $RAY_ADDRESS, or one is started."),
    _field("ray.cpus_per_group", int, None, "CPUs of a process; by default its share of a node's.", POSITIVE),
    _field("ray.autoscaling", bool, False, "Nodes may come later: what no node has now is waited for."),
    _field("slurm.wait", bool, True, "Show progress until all is done; otherwise submit and leave."),
    _field("slurm.partition", str, None, "As sbatch takes it, like those that follow; by default the cluster's."),
    _field("slurm.time", str, None, "Limit of a job, after which it goes on in another turn, such as 4:00:00."),
    _field("slurm.gpus_per_node", int, None, "GPUs of a group.", POSITIVE),
    _field("slurm.cpus_per_task", int, None, "CPUs of a group.", POSITIVE),
    _field("slurm.mem", str, None, "Memory of a group, such as 32G."),
    _field("slurm.constraint", str, None, "Features that its node must have."),
    _field("slurm.account", str, None, "That is charged."),
    _field("slurm.qos", str, None, "Quality of service."),
    _field("slurm.extra", str, None, "More options of sbatch, such as --exclusive --licenses=a:1."),
)
