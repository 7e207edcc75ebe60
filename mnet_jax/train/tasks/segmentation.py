"""A class for each pixel: cross entropy without void, and mIoU of one exact confusion matrix over a split.

Everingham et al., 2010 (the PASCAL VOC challenge): the intersection of what is labelled and what is predicted as a
class over their union, averaged over the classes that occur in either. The images of a batch are squares of one side;
where an image is smaller, the rest is void and counts nowhere. Scores are taken at that side, whatever the network's
own size.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from mnet_jax.config.passes import passes_of
from mnet_jax.data.augment import standardize
from mnet_jax.data.masks import VOID
from mnet_jax.data.pairs import augment_pairs
from mnet_jax.errors import UserError
from mnet_jax.models.ops.aligned_corners import resize_aligned
from mnet_jax.train.tasks.logits import checked
from mnet_jax.workdir import predictions
from mnet_jax.workdir.confusions import influence, intersection_over_union, standard_error

_BACKGROUND = "background"  # name of the class that foreground leaves out


class Segmentation:
    """See `contract.Task`. "label" is uint8 (batch, side, side), `VOID` where no class is known."""

    def __init__(self, config):
        self._config = config

    def abstract_label(self, batch_size):
        side = self._config.data.image_size
        return jax.ShapeDtypeStruct((batch_size, side, side), np.uint8)

    def augment(self, batch, key):
        return augment_pairs(batch["image"], batch["label"], key, self._config.data, self._config.input_size)

    def mix(self, images, targets, key):
        return images, targets

    def outputs(self, found, images, network):
        expected = (*images.shape[:3], self._config.model.num_classes)
        return checked(found, expected, "batch, height, width, num_classes", network)

    def predict(self, apply, batch, network):
        """Of several passes, the logarithm of the mean of their probabilities, at the size of the labels.

        DeepLabv3's inference at several scales (Chen et al., 2017, section 4.1), as in `research/deeplab`.
        """
        (first, *others) = (self._logits(apply, batch, one, network) for one in passes_of(self._config))
        if not others:
            return first
        total = self._log_shares(first, batch)
        for logits in others:
            total = jnp.logaddexp(total, self._log_shares(logits, batch))
        return total - jnp.log(1.0 + len(others))

    def _logits(self, apply, batch, one, network):
        """Of one pass, turned back where it is flipped."""
        images = standardize(batch["image"], self._config.data, one.side)
        images = images[:, :, ::-1] if one.is_flipped else images
        logits = self.outputs(apply(images), images, network)
        return logits[:, :, ::-1] if one.is_flipped else logits

    def _log_shares(self, logits, batch):
        return jax.nn.log_softmax(resize_aligned(logits, *batch["label"].shape[1:3]))

    def loss(self, outputs, targets):
        sums, counts = _cross_entropy(outputs, targets)
        return sums.sum() / jnp.maximum(counts.sum(), 1.0)

    def sums(self, outputs, batch):
        """{"loss", "pixels", "count"} over the images whose "mask" is 1: sums of the loss and numbers of pixels.

        Beside the sums stands "confusion", int32 (batch, classes, classes): pixels by their class and by what is
        predicted; -1 where "mask" is 0.
        """
        labels, is_there = batch["label"], batch["mask"] > 0
        outputs = resize_aligned(outputs, *labels.shape[1:3])
        losses, pixels = _cross_entropy(outputs, labels)
        found = lax.map(lambda pair: _confusion(*pair), (outputs, labels))
        return {
            "loss": jnp.sum(jnp.where(is_there, losses, 0.0)),
            "pixels": jnp.sum(jnp.where(is_there, pixels, 0.0)),
            "count": jnp.sum(batch["mask"]),
            "confusion": jnp.where(is_there[:, jnp.newaxis, jnp.newaxis], found, -1),
        }

    def scores(self, parts) -> dict[str, Any]:
        """{"miou", "pixel_accuracy", "loss", "count"}; the loss is the mean over pixels, the rest is of `confusions`.

        Beside them: "miou_se", the standard error over images (`influence`); "iou" of each class, NaN where it does not
        occur; where the first class is the background, "foreground_miou" over the others and "background_only_miou",
        what somebody reaches who calls every pixel that; and "confusions", int64 (count, classes, classes).
        """
        confusions = np.concatenate([part["confusion"] for part in parts]).astype(np.int64)
        confusions = confusions[confusions[:, 0, 0] >= 0]
        if not len(confusions):
            raise UserError("no image of the split can be read")
        total = confusions.sum(axis=0)
        if not total.sum():
            raise UserError("all pixels of the split are void")
        loss, pixels = (float(sum(np.float64(part[name]) for part in parts)) for name in ("loss", "pixels"))
        iou = intersection_over_union(total)
        scores = {
            "miou": float(np.nanmean(iou)),
            "pixel_accuracy": float(np.trace(total) / total.sum()),
            "loss": loss / pixels,
            "count": len(confusions),
            "miou_se": standard_error(confusions),
            "iou": iou.tolist(),
            "confusions": confusions,
        }
        names = self._config.data.get("class_names")
        if names and names[0] == _BACKGROUND:
            only = np.zeros_like(total)
            only[:, 0] = total.sum(axis=1)
            foreground = iou[1:][~np.isnan(iou[1:])]
            scores |= {
                "foreground_miou": float(foreground.mean()) if len(foreground) else None,
                "background_only_miou": float(np.nanmean(intersection_over_union(only))),
            }
        return scores

    def validation(self, scores):
        return {"influence": influence(scores["confusions"]).tolist()}

    def result(self, scores):
        beside = ("miou_se", "foreground_miou", "background_only_miou")
        iou = [None if np.isnan(value) else value for value in scores["iou"]]
        return {"iou": iou} | {name: scores[name] for name in beside if name in scores}

    def outcomes(self, scores):
        return predictions.encoded_confusions(scores["confusions"])


def _cross_entropy(outputs: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums over the pixels of each image that are not void, and their numbers, (batch,) float32."""
    is_known = labels != VOID
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.where(is_known, labels, 0).astype(jnp.int32))
    return jnp.where(is_known, losses, 0.0).sum(axis=(1, 2)), is_known.astype(jnp.float32).sum(axis=(1, 2))


def _confusion(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Pixels of one image by class and by prediction, int32 (classes, classes).

    Products of ones are exact in float32 up to 2^24 of them: images of 4096 x 4096.
    """
    classes = jnp.arange(outputs.shape[-1]).reshape(1, 1, -1)
    of_class = (labels[..., jnp.newaxis] == classes).astype(jnp.float32)  # void is none
    predicted = (outputs.argmax(axis=-1)[..., jnp.newaxis] == classes).astype(jnp.float32)
    return jnp.einsum("hwc,hwp->cp", of_class, predicted, precision=lax.Precision.HIGHEST).astype(jnp.int32)
