"""The durations of a config, in optimizer updates."""

import dataclasses
import math

from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class Steps:
    """The durations of a config, in optimizer updates; floats are exact, so they need not be whole.

    Attributes:
      epochs: that `total` updates are: those of the config but where they are less than one update.
    """

    per_epoch: float
    epochs: float
    total: int
    warmup: int
    decay_every: int
    eval_every: float
    checkpoint_every: float

    def is_due(self, step: int, every: float) -> bool:
        """True for the first step at or after each multiple of `every`, and for the last step."""
        passed, passed_before = (math.floor(done / every + 1e-9) for done in (step, step - 1))
        return passed > passed_before or step == self.total


def in_steps(config: ConfigDict, num_train: int) -> Steps:
    """Turns epochs into steps for `num_train` training images.

    Each duration is at least one step, but the warm-up may be 0 and is never more than half of a short training.
    """
    per_epoch = max(num_train, 1) / config.train.batch_size

    def rounded(epochs: float, least: int = 1) -> int:
        return max(least, round(epochs * per_epoch))

    total = rounded(config.train.epochs) if config.train.epochs else 0
    is_rounded = abs(total - config.train.epochs * per_epoch) <= 0.5
    return Steps(
        per_epoch=per_epoch,
        epochs=config.train.epochs if is_rounded else total / per_epoch,
        total=total,
        warmup=min(rounded(config.optim.warmup_epochs, 0), total // 2),
        decay_every=rounded(config.optim.decay_every_epochs),
        eval_every=max(1.0, config.train.eval_every_epochs * per_epoch),
        checkpoint_every=max(1.0, config.train.checkpoint_every_epochs * per_epoch),
    )
