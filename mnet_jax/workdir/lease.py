"""Who works on a folder, told to all nodes that see it: a file that its holder touches while it lives.

Nothing waits for a dead holder: on the machine that asks, the system says whether its process is there; of another
machine's, the age of the file does. Both ends of that age are times of the file system's own clock, so that a node
whose clock is wrong counts as well as any.
"""

import contextlib
import functools
import json
import os
import pathlib
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import filelock

_TOUCH_SECONDS = 5
_LATE_SECONDS = 20  # since it was touched: whoever holds it looks first whether it is still there
_DEAD_SECONDS = 60  # of silence, after which a holder on another machine counts as gone
_POLL_SECONDS = 0.2
_GUARD_SECONDS = 30  # far longer than a change takes
_UNREADABLE = (OSError, ValueError, RecursionError)


class Held(Exception):
    """Somebody else holds it; the message says who."""


class Lost(Exception):
    """Somebody else took it, for its holder had been silent for too long."""


class Lease:
    """A context manager: what is inside is done by one process at a time, on whichever node.

    Args:
      path: of the file; beside it lies `.lock`, which guards its changes for a moment each.
      timeout: seconds to wait for another holder before `Held` is raised.
      log: of who took it and gave it back, a JSON object per line, in the order in which that happened; None for none.
      about: more to say of this process, such as its job.
    """

    def __init__(
        self,
        path: pathlib.Path,
        timeout: float,
        log: pathlib.Path | None = None,
        about: Mapping[str, Any] | None = None,
    ):
        self._path, self._timeout, self._log = path, timeout, log
        self._me = {"node": platform.node(), **(about or {}), "pid": os.getpid(), "machine": _machine()}
        self._me |= {"started": _started(os.getpid()), "nonce": uuid.uuid4().hex}
        self._touched = 0.0
        self._ended = threading.Event()
        self._lost: str | None = None

    def __enter__(self) -> "Lease":
        deadline = time.monotonic() + self._timeout
        while (holder := self._try()) is not None:
            if time.monotonic() >= deadline:
                raise Held(_in_words(holder))
            time.sleep(_POLL_SECONDS)
        threading.Thread(target=self._keep_touching, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        with contextlib.suppress(OSError), _guarded(self._path):
            if _read(self._path).get("nonce") == self._me["nonce"]:
                self._write_log("released")
                self._path.unlink()

    def check(self) -> None:
        """Looks whether it is still held, where this process was silent for a while; costs nothing otherwise.

        Raises:
          Lost: another process has it.
        """
        if _now() - self._touched > _LATE_SECONDS:
            with contextlib.suppress(OSError):  # a file server that is away for a moment says nothing of the holder
                self._touch()
        if self._lost:
            raise Lost(self._lost)

    def _try(self) -> dict[str, Any] | None:
        """None once it is held; or else who holds it."""
        with _guarded(self._path):
            event = "taken"
            if self._path.exists():
                holder = _read(self._path)
                if _is_alive(holder, self._path):
                    return holder
                self._path.unlink()
                event = "taken over"
            try:
                self._create()
            except FileExistsError:  # on a file system without locks
                return _read(self._path)
            self._write_log(event)
        return None

    def _create(self) -> None:
        with self._path.open("x") as file:
            try:
                json.dump(self._me, file)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                self._path.unlink()
                raise
        self._touched = _now()

    def _keep_touching(self) -> None:
        while not self._ended.wait(_TOUCH_SECONDS) and not self._lost:
            with contextlib.suppress(OSError):
                self._touch()

    def _touch(self) -> None:
        with _guarded(self._path):
            if self._ended.is_set():
                return
            holder = _read(self._path)
            if holder.get("nonce") == self._me["nonce"]:
                os.utime(self._path)
                self._touched = _now()
            elif holder:
                self._lost = f"{_in_words(holder)} has taken over"
            else:  # deleted or damaged
                self._path.unlink(missing_ok=True)
                self._create()

    def _write_log(self, event: str) -> None:
        if self._log is not None:
            said = {key: value for key, value in self._me.items() if key not in ("machine", "started")}
            with contextlib.suppress(OSError), self._log.open("a") as file:  # no lock is lost to a disk that is full
                file.write(json.dumps({"event": event, **said, "at": round(time.time(), 3)}) + "\n")


def is_held(path: pathlib.Path) -> bool:
    """Whether a process that lives has the lease."""
    with contextlib.suppress(OSError):
        return path.is_file() and _is_alive(_read(path), path)
    return False


@contextlib.contextmanager
def _guarded(path: pathlib.Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(NotImplementedError, filelock.Timeout):  # a file system without locks; leases are left
            stack.enter_context(filelock.FileLock(path.with_name(".lock"), timeout=_GUARD_SECONDS))
        yield


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Empty where it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) and "nonce" in value else {}
    except _UNREADABLE:
        return {}


def _is_alive(holder: Mapping[str, Any], path: pathlib.Path) -> bool:
    if holder.get("machine") == _machine():
        return _started(holder.get("pid")) == holder.get("started") is not None
    return _age(path) < _DEAD_SECONDS


def _age(path: pathlib.Path) -> float:
    """Seconds since a file was touched, by the clock that stamps files there."""
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with probe.open("w") as file:
            file.write("now")
            file.flush()
            os.fsync(file.fileno())
            now = os.fstat(file.fileno()).st_mtime
    except OSError:  # a workdir that may only be read
        now = time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


@functools.cache
def _machine() -> str:
    """This boot of this machine, and the container whose process numbers count."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _started(pid: Any) -> int | None:
    """When a process of this machine was started, in a unit of the system's; None where it is not there any more."""
    try:
        state, *rest = pathlib.Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(rest[18])
    except (OSError, ValueError, TypeError):
        return None if pathlib.Path("/proc/self/stat").exists() or not _answers(pid) else 0


def _answers(pid: Any) -> bool:
    """Where there is no /proc."""
    try:
        os.kill(int(pid), 0)
    except (OSError, ValueError, TypeError):
        return False
    return True


def _now() -> float:
    """Also counts the time in which the machine slept, where the system says."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _in_words(holder: Mapping[str, Any]) -> str:
    job = f", job {holder['job']}" if holder.get("job") else ""
    return f"process {holder.get('pid', '?')} on {holder.get('node', 'a node that does not say')}{job}"
