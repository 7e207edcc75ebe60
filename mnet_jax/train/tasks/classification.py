"""One of several classes for each image: cross entropy, and whether the right class is first or among five."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mnet_jax.data.augment import augment, standardize
from mnet_jax.data.mixing import mix
from mnet_jax.errors import UserError
from mnet_jax.train.tasks.logits import checked
from mnet_jax.workdir import predictions
from mnet_jax.workdir.bits import as_text


class Classification:
    """See `contract.Task`. "label" is int32 (batch,)."""

    def __init__(self, config):
        self._config = config

    def abstract_label(self, batch_size):
        return jax.ShapeDtypeStruct((batch_size,), np.int32)

    def augment(self, batch, key):
        images = augment(batch["image"], key, self._config.data, self._config.input_size)
        return images, jax.nn.one_hot(batch["label"], self._config.model.num_classes)

    def mix(self, images, targets, key):
        return mix(images, targets, key, self._config.train.mixup_alpha, self._config.train.cutmix_alpha)

    def outputs(self, found, images, network):
        expected = (len(images), self._config.model.num_classes)
        return checked(found, expected, "batch, num_classes", network)

    def predict(self, apply, batch, network):
        images = standardize(batch["image"], self._config.data, self._config.input_size)
        return self.outputs(apply(images), images, network)

    def loss(self, outputs, targets):
        targets = optax.smooth_labels(targets, self._config.train.label_smoothing)
        return optax.softmax_cross_entropy(outputs, targets).mean()

    def sums(self, outputs, batch):
        """{"loss", "top1", "top5", "count"} over the images whose "mask" is 1.

        Beside the sums stands "correct", int8 (batch,): 1 where the first class is the right one, -1 where "mask" is 0.
        """
        labels, mask = batch["label"], batch["mask"]
        loss = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
        own = jnp.take_along_axis(outputs, labels[:, jnp.newaxis], axis=-1)
        # Ties go to the lower class, as in argmax; NaN logits are never right.
        lower_class = jnp.arange(outputs.shape[-1])[jnp.newaxis] < labels[:, jnp.newaxis]
        rank = jnp.sum((outputs > own) | ((outputs == own) & lower_class), axis=-1)
        is_finite = jnp.isfinite(own[:, 0])
        sums = {"loss": loss, "top1": is_finite & (rank < 1), "top5": is_finite & (rank < 5), "count": mask}
        sums = {name: jnp.sum(jnp.where(mask > 0, value, 0).astype(jnp.float32)) for name, value in sums.items()}
        return sums | {"correct": jnp.where(mask > 0, is_finite & (rank < 1), -1).astype(jnp.int8)}

    def scores(self, parts) -> dict[str, Any]:
        """{"top1", "top5", "loss", "count"}, and "correct".

        That is which images are right, (count,) bool, in the order of the split; damaged images have no place there.
        """
        outcomes = np.concatenate([np.atleast_1d(part["correct"]) for part in parts])
        totals = {
            name: float(np.sum([np.asarray(part[name], np.float64) for part in parts]))
            for name in parts[0]
            if name != "correct"
        }
        count = totals.pop("count")
        if not count:
            raise UserError("no image of the split can be read")
        scores = {name: total / count for name, total in totals.items()}
        return scores | {"count": int(count), "correct": outcomes[outcomes >= 0] > 0}

    def validation(self, scores):
        return {"correct": as_text(scores["correct"])}

    def result(self, scores):
        return {}

    def outcomes(self, scores):
        return predictions.encoded(scores["correct"])
