"""What a launcher is: the local one, those of clusters, and one of the user's own.

`config.launch.launcher` names a function, or a class, of `config.launch` and the workdir that returns a `Launcher`.
What a group needs, devices, hosts and the rest, stands in `config.launch` and is the same for all groups of a sweep.
Everything else a launcher learns from the folders of the trials: `python -m mnet_jax.sweep.launchers.worker FOLDER ...`
trains a group, and what became of it stands there.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ml_collections import ConfigDict

from mnet_jax.devices.signals import Interruption
from mnet_jax.workdir.files import TrialFolder, Workdir

Groups = Sequence[Sequence[TrialFolder]]  # trials on one stream, in the order in which they start
OnPoll = Callable[[TrialFolder], None]


class Capacity(NamedTuple):
    """Where groups can be trained.

    Attributes:
      places: groups that can run at the same time.
      num_devices: that a group computes on, those of all its hosts together.
      memory: of those devices, in bytes; 0 where it is not known.
      platform: of those devices, as JAX names it; empty where it is not known.
    """

    places: int
    num_devices: int
    memory: int
    platform: str = ""


class Launcher(Protocol):
    """Called in the main thread of the sweep's process, which holds the workdir."""

    def capacity(self) -> Capacity:
        """Looks where groups can run; makes nothing.

        Raises:
          UserError: what `config.launch` asks for is not there.
        """

    def launch(self, groups: Groups, interruption: Interruption, on_poll: OnPoll) -> None:
        """Trains each group, or sees to it that it will be; what became of its trials is in their folders.

        Args:
          groups: no trial stands in two.
          interruption: asked several times a second; its reason stops the processes, which save checkpoints.
          on_poll: called several times a second with every trial that trains, and when it has ended.

        Raises:
          Interrupted: there was a reason to stop; the trials that had not ended are `queued`.
          UserError: nothing can be trained.
        """


Factory = Callable[[ConfigDict, Workdir], Launcher]
