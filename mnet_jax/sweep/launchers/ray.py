"""Groups of trials on a Ray cluster: a detached actor for each, which outlives the sweep's process.

All actors are asked for at once, so that an autoscaler sees what is needed. Where a node dies, Ray starts its actors
elsewhere, and they go on from the checkpoints. An actor that has nothing left to do ends itself.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.sweep.launchers.contract import Capacity, Groups, OnPoll
from mnet_jax.sweep.launchers.keeper import keep
from mnet_jax.sweep.launchers.queue import End, Queue
from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.jobs import JOB, NODE, Ticket

_NAMESPACE = "mnet_jax"
_ANSWER_SECONDS = 5
_PROBE_SECONDS = 60
_KINDS = ("GPU", "TPU", "CPU")  # Ray's names of what can be computed on, the first that there is


class Needs(NamedTuple):
    """Of a group: Ray's resources, and how many groups the nodes have room for now."""

    kind: str
    devices: int
    cpus: int
    places: int
    memory: int


class Ray:
    """See `contract.Launcher`, and `queue.Cluster`."""

    def __init__(self, launch: ConfigDict, workdir: Workdir):
        self._launch, self._workdir = launch, workdir
        self._queue = Queue(self, workdir)
        self._ray = _library()
        self._needs: Needs | None = None

    def capacity(self) -> Capacity:
        ray, address = self._ray, self._launch.ray.address
        if not ray.is_initialized():
            if address is not None:
                _check_address(address)
            try:
                ray.init(address=address, namespace=_NAMESPACE, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, RuntimeError, ValueError) as error:
                where = f"config.launch.ray.address={address!r}: " if address else ""
                raise UserError(f"{where}Ray does not answer: {' '.join(str(error).split())}") from error
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._needs = needs(nodes, self._launch)
        return Capacity(self._needs.places, self._needs.devices, self._needs.memory)

    def launch(self, groups: Groups, interruption: Interruption, on_poll: OnPoll) -> None:
        self._check_workdir()
        self._queue.wait(self._queue.submit(groups), interruption, on_poll)

    def submit(self, job: str, groups: Sequence[Sequence[str]]) -> None:
        kind, devices, cpus, _, _ = self._needs
        resources: dict[str, Any] = {"num_cpus": cpus}
        place = {}
        if kind == "GPU":
            resources["num_gpus"] = devices
        elif kind == "TPU":
            resources["resources"] = {"TPU": devices}
        elif devices > 1:
            place = {"JAX_NUM_CPU_DEVICES": str(devices)}
        actor = self._ray.remote(_Actor)
        for index, names in enumerate(groups):
            actor.options(
                name=_name(Ticket(job, index), names),
                lifetime="detached",
                max_restarts=-1,
                max_concurrency=2,
                **resources,
            ).remote(str(self._workdir.path.absolute()), Ticket(job, index), place)

    def alive(self, jobs: Iterable[str]) -> set[Ticket]:
        return set(self._names(jobs))

    def stop(self, tickets: Iterable[Ticket]) -> None:
        for actor, has_begun in self._actors(tickets):
            if has_begun:
                actor.stop.remote("the end of the sweep's process")
            else:
                self._ray.kill(actor)

    def kill(self, tickets: Iterable[Ticket]) -> None:
        for actor, _ in self._actors(tickets):
            self._ray.kill(actor)

    def end(self, ticket: Ticket) -> End:
        return End()

    def _actors(self, tickets: Iterable[Ticket]) -> Iterable[tuple[Any, bool]]:
        tickets = set(tickets)
        names, begun = self._names({ticket.job for ticket in tickets}), self._queue.begun()
        for ticket in tickets & names.keys():
            with contextlib.suppress(ValueError):  # it has ended
                yield self._ray.get_actor(names[ticket], namespace=_NAMESPACE), ticket in begun

    def _names(self, jobs: Iterable[str]) -> dict[Ticket, str]:
        """The names of actors that live, or will."""
        jobs, found = set(jobs), {}
        for name in self._ray.util.list_named_actors():
            job, _, rest = name.partition(":")
            if job in jobs:
                found[Ticket(job, int(rest.split()[0]))] = name
        return found

    def _check_workdir(self) -> None:
        """Raises UserError where a node does not see what is written in the workdir now."""
        ray, path = self._ray, self._workdir.path.absolute()
        probe = path / f".probe-{os.getpid()}-{time.time_ns()}"
        probe.write_text("seen")
        try:
            look = ray.remote(num_cpus=0, max_retries=0)(_sees)
            at = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
            nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
            looks = {
                look.options(scheduling_strategy=at(node, soft=False)).remote(str(probe)): name
                for node, name in nodes.items()
            }
            answers, _ = ray.wait(list(looks), num_returns=len(looks), timeout=_PROBE_SECONDS)
            for answer in answers:
                try:
                    found = ray.get(answer)
                except ray.exceptions.RayError as error:
                    found = f"cannot run mnet_jax: {' '.join(str(error).split())[-300:]}"
                if found:
                    raise UserError(f"node {looks[answer]} of the Ray cluster {found}")
        finally:
            probe.unlink()


def make(launch: ConfigDict, workdir: Workdir) -> Ray:
    return Ray(launch, workdir)


def needs(nodes: Sequence[Mapping[str, float]], launch: ConfigDict) -> Needs:
    """What a group asks for, and how many have room.

    Args:
      nodes: Ray's resources of each that lives.
      launch: `config.launch`.

    Raises:
      UserError: no node has so much, and none is to come.
    """
    kind = next((kind for kind in _KINDS if any(node.get(kind) for node in nodes)), "CPU")
    having = [node for node in nodes if node.get(kind)]
    most = int(max((node[kind] for node in having), default=0))
    devices = launch.devices_per_group or {"GPU": 1, "TPU": max(most, 1), "CPU": 1}[kind]
    able = [node for node in having if node[kind] >= devices]
    if not able and not launch.ray.autoscaling:
        raise UserError(
            f"config.launch.devices_per_group={devices}: no node of the Ray cluster has so many; "
            f"the most is {most} {kind}"
        )
    fit = [1 if kind == "CPU" else int(node[kind] // devices) for node in able]
    shares = [int(node.get("CPU", 0) // count) for node, count in zip(able, fit, strict=True)]
    cpus = launch.ray.cpus_per_group or max(1, min(filter(None, shares), default=1))
    places = 0
    for node, count in zip(able, fit, strict=True):
        by_cpus = int(node.get("CPU", 0) // cpus)
        places += by_cpus if kind == "CPU" else min(count, by_cpus)
    if not places and not launch.ray.autoscaling:
        most_cpus = int(max((node.get("CPU", 0) for node in able), default=0))
        raise UserError(
            f"config.launch.ray.cpus_per_group={cpus}: no node of the Ray cluster has so many; the most is {most_cpus}"
        )
    memory = 0 if kind != "CPU" else int(min((node.get("memory", 0) for node in able), default=0))
    return Needs(kind, devices, cpus, max(1, places), memory)


class _Actor:
    """Trains a group; begins anew wherever Ray starts it."""

    def __init__(self, workdir: str, ticket: Ticket, place: Mapping[str, str]):
        import ray

        context = ray.get_runtime_context()
        self._interruption = Interruption()
        where = {NODE: f"{socket.gethostname()}/{context.get_node_id()[:8]}", JOB: f"{ticket.job}:{ticket.index}"}
        threading.Thread(target=self._train, args=(workdir, Ticket(*ticket), where, place, context)).start()

    def _train(self, workdir, ticket, where, place, context) -> None:
        import ray

        try:
            with contextlib.suppress(Interrupted):
                keep(workdir, ticket, where, place, self._interruption)
        finally:
            ray.kill(context.current_actor)  # and it is not started again

    def stop(self, reason: str) -> None:
        self._interruption.set(reason)


def _sees(probe: str) -> str:
    """What is wrong with a node; nothing where all is well."""
    with contextlib.suppress(OSError), open(probe) as file:
        if file.read() == "seen":
            return ""
    return f"does not see the workdir {os.path.dirname(probe)}: it must be on a file system that all nodes share"


def _name(ticket: Ticket, names: Sequence[str]) -> str:
    """Of an actor; Ray's dashboard shows it."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{ticket.job}:{ticket.index} {names[0].rpartition('-')[0]}{more}"


def _check_address(address: str) -> None:
    """Raises UserError where nobody listens, which Ray takes long to notice."""
    if address in ("auto", "local"):
        return
    where = f"config.launch.ray.address={address!r}"
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise UserError(f"{where}: must be HOST:PORT of the cluster's head, or auto; `ray job submit` reaches others")
    try:
        socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"{where}: nobody answers ({error})") from error


def _library():
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise UserError('the launcher ray needs Ray: pip install "mnet_jax[ray]"') from error
    return ray
