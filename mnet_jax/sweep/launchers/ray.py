"""Groups of trials on a Ray cluster: a detached actor for each, which outlives the sweep's process.

All actors are asked for at once, so that an autoscaler sees what is needed. Where a node dies, Ray starts its actors
elsewhere, and they go on from the checkpoints. An actor that has nothing left to do ends itself.
"""

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.sweep.launchers.contract import Capacity, Groups, OnPoll
from mnet_jax.sweep.launchers.keeper import Part, keep
from mnet_jax.sweep.launchers.queue import End, Queue
from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.jobs import JOB, NODE, Ticket

_NAMESPACE = "mnet_jax"
_ANSWER_SECONDS = 5
_PROBE_SECONDS = 60
_LEAVE_SECONDS = 10
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
        hosts = self._launch.hosts_per_group
        kind, devices, _, places, memory = self._needs
        return Capacity(places, hosts * devices, hosts * memory, kind.lower())

    def launch(self, groups: Groups, interruption: Interruption, on_poll: OnPoll) -> None:
        self._check_workdir()
        self._queue.wait(self._queue.submit(groups), interruption, on_poll)

    def submit(self, job: str, groups: Sequence[Sequence[str]]) -> None:
        kind, devices, cpus, _, _ = self._needs
        resources = {"CPU": float(cpus), **({kind: float(devices)} if kind != "CPU" else {})}
        place = {"JAX_NUM_CPU_DEVICES": str(devices)} if kind == "CPU" and devices > 1 else {}
        path = str(self._workdir.path.absolute())
        for index, names in enumerate(groups):
            ticket = Ticket(job, index)
            for rank, options in enumerate(self._options(ticket, resources)):
                actor = self._ray.remote(_Actor).options(
                    name=_name(ticket, rank, names), lifetime="detached", max_restarts=-1, **options
                )
                actor.remote(path, ticket, place, Part(rank, self._launch.hosts_per_group))

    def _options(self, ticket: Ticket, resources: Mapping[str, float]) -> Iterator[dict[str, Any]]:
        """What the actor of each host of a group asks for; several hosts have their places reserved together."""
        asked: dict[str, Any] = {"num_cpus": resources["CPU"], "num_gpus": resources.get("GPU", 0)}
        asked["resources"] = {kind: count for kind, count in resources.items() if kind == "TPU"}
        hosts = self._launch.hosts_per_group
        if hosts == 1:
            yield asked
            return
        groups = self._ray.util.placement_group
        reserved = groups(
            [dict(resources)] * hosts, "STRICT_SPREAD", lifetime="detached", name=f"{ticket.job}:{ticket.index}"
        )
        within = self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        for rank in range(hosts):
            yield {**asked, "scheduling_strategy": within(reserved, placement_group_bundle_index=rank)}

    def alive(self, jobs: Iterable[str]) -> set[Ticket]:
        return set(self._names(jobs).values())

    def stop(self, tickets: Iterable[Ticket]) -> None:
        begun = self._queue.begun()
        self.kill(set(tickets) - begun)
        for actor in self._actors(set(tickets) & begun):
            actor.stop.remote("the end of the sweep's process")

    def kill(self, tickets: Iterable[Ticket]) -> None:
        for actor in self._actors(tickets):
            self._ray.kill(actor)
        for ticket in tickets if self._launch.hosts_per_group > 1 else ():
            with contextlib.suppress(ValueError):
                name = f"{ticket.job}:{ticket.index}"
                self._ray.util.remove_placement_group(self._ray.util.get_placement_group(name))

    def end(self, ticket: Ticket) -> End:
        return End()

    def _actors(self, tickets: Iterable[Ticket]) -> Iterator[Any]:
        tickets = set(tickets)
        for name, ticket in self._names({ticket.job for ticket in tickets}).items():
            if ticket in tickets:
                with contextlib.suppress(ValueError):  # it has ended
                    yield self._ray.get_actor(name, namespace=_NAMESPACE)

    def _names(self, jobs: Iterable[str]) -> dict[str, Ticket]:
        """The names of actors that live, or will, and their groups."""
        jobs, found = set(jobs), {}
        for name in self._ray.util.list_named_actors():
            job, _, rest = name.partition(":")
            if job in jobs:
                found[name] = Ticket(job, int(re.match(r"\d+", rest)[0]))
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
    hosts = launch.hosts_per_group
    if len(able) < hosts and not launch.ray.autoscaling:
        raise UserError(
            f"config.launch.hosts_per_group={hosts}: the Ray cluster has {len(able)} nodes with {devices} {kind}"
        )
    memory = 0 if kind != "CPU" else int(min((node.get("memory", 0) for node in able), default=0))
    return Needs(kind, devices, cpus, max(1, places // hosts), memory)


class _Actor:
    """Trains a group; begins anew wherever Ray starts it."""

    def __init__(self, workdir: str, ticket: Ticket, place: Mapping[str, str], part: Part):
        import ray

        context = ray.get_runtime_context()
        self._interruption = Interruption()
        where = {NODE: f"{socket.gethostname()}/{context.get_node_id()[:8]}", JOB: f"{ticket.job}:{ticket.index}"}
        threading.Thread(target=self._train, args=(workdir, ticket, where, place, part, context)).start()

    def _train(self, workdir, ticket, where, place, part, context) -> None:
        import ray

        try:
            with contextlib.suppress(Interrupted):
                keep(workdir, ticket, where, place, self._interruption, part)
        finally:
            if part.rank == 0 and (reserved := ray.util.get_current_placement_group()):
                time.sleep(_LEAVE_SECONDS)  # which the others need: without their places they are killed
                ray.util.remove_placement_group(reserved)
            ray.kill(context.current_actor)  # and it is not started again

    def stop(self, reason: str) -> None:
        self._interruption.set(reason)


def _sees(probe: str) -> str:
    """What is wrong with a node; nothing where all is well."""
    with contextlib.suppress(OSError), open(probe) as file:
        if file.read() == "seen":
            return ""
    return f"does not see the workdir {os.path.dirname(probe)}: it must be on a file system that all nodes share"


def _name(ticket: Ticket, rank: int, names: Sequence[str]) -> str:
    """Of an actor; Ray's dashboard shows it."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{ticket.job}:{ticket.index}{f'.{rank}' if rank else ''} {names[0].rpartition('-')[0]}{more}"


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
