"""Leaving cleanly: SIGINT and SIGTERM become a flag that loops poll."""

import signal


class Interrupted(Exception):
    """Raised where a loop finds that it was asked to stop."""


class Interruption:
    """The reason why this process was asked to stop, once it was.

    Use as a context manager in the main thread: inside, SIGINT and SIGTERM only set the reason.
    """

    def __init__(self):
        self.reason: str | None = None
        self._previous = {}

    def __enter__(self) -> "Interruption":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def set(self, reason: str) -> None:
        self.reason = self.reason or reason

    def check(self) -> None:
        """Raises Interrupted once there is a reason."""
        if self.reason:
            raise Interrupted(self.reason)

    def _on_signal(self, number, _) -> None:
        self.set(signal.Signals(number).name)
