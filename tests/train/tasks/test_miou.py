"""mIoU, its error and the loss, against loops over pixels and a case by hand."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from sklearn import metrics

from mnet_jax.data.masks import VOID
from mnet_jax.errors import UserError
from mnet_jax.train.tasks.segmentation import Segmentation
from mnet_jax.workdir.confusions import influence, intersection_over_union, standard_error


def task(classes=3, side=4, names=None):
    return Segmentation(
        ConfigDict(
            {
                "model": {"num_classes": classes},
                "input_size": side,
                "data": {"image_size": side, "class_names": names},
            }
        )
    )


def logits_of(predicted, classes):
    return 10.0 * jax.nn.one_hot(jnp.asarray(predicted), classes)


def evaluated(task, batches):
    return task.scores([jax.device_get(task.sums(outputs, batch)) for outputs, batch in batches])


def test_a_case_by_hand():
    """0 0 1      0 1 1
    0 1 1  as   0 1 1   : of class 0 3 pixels right of 4 together, of class 1 3 of 4, of class 2 none of 1; void is out.
    2 1 v      1 1 2
    """
    labels = np.array([[[0, 0, 1], [0, 1, 1], [2, 1, VOID]]], np.uint8)
    predicted = [[[0, 1, 1], [0, 1, 1], [1, 1, 2]]]
    batch = {"label": labels, "mask": np.ones(1, np.float32)}
    scores = evaluated(task(side=3, names=("background", "a", "b")), [(logits_of(predicted, 3), batch)])
    assert scores["iou"] == pytest.approx([2 / 3, 4 / 6, 0])
    assert scores["miou"] == pytest.approx((2 / 3 + 4 / 6 + 0) / 3)
    assert scores["pixel_accuracy"] == pytest.approx(6 / 8)
    assert scores["foreground_miou"] == pytest.approx((4 / 6 + 0) / 2)
    assert scores["background_only_miou"] == pytest.approx((3 / 8 + 0 + 0) / 3)
    assert scores["miou_se"] is None


@pytest.fixture
def split():
    """Two batches of random labels and logits; the last image is padding, one class occurs nowhere."""
    rng = np.random.default_rng(0)
    batches = []
    for mask in ([1, 1, 1], [1, 1, 0]):
        labels = rng.choice([0, 1, 3, VOID], (3, 6, 6), p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8)
        outputs = rng.normal(size=(3, 6, 6, 5)).astype(np.float32)
        outputs[..., 4] = -9  # never predicted, and never a label
        batches.append((jnp.asarray(outputs), {"label": labels, "mask": np.array(mask, np.float32)}))
    return batches


def test_it_is_a_loop_over_pixels(split):
    confusions, losses = np.zeros((5, 5, 5), int), []
    images = [(outputs[i], batch["label"][i]) for outputs, batch in split for i in range(3) if batch["mask"][i]]
    for confusion, (outputs, labels) in zip(confusions, images, strict=True):
        log_p = np.asarray(jax.nn.log_softmax(outputs), np.float64)
        for row, column in np.argwhere(labels != VOID):
            confusion[labels[row, column], np.argmax(outputs[row, column])] += 1
            losses.append(-log_p[row, column, labels[row, column]])
    scores = evaluated(task(5, 6), split)
    np.testing.assert_array_equal(scores["confusions"], confusions)
    total = confusions.sum(0)
    ious = [total[c, c] / (total[c].sum() + total[:, c].sum() - total[c, c]) for c in range(4)]
    assert scores["iou"][:4] == pytest.approx(ious)
    assert np.isnan(scores["iou"][4])
    assert scores["miou"] == pytest.approx(np.mean(ious))
    assert scores["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert scores["count"] == 5


def test_it_is_scikit_learns(split):
    """Jaccard's index over the pixels that are not void, of the classes that occur; and its accuracy."""
    known = [
        (labels[there][labels[there] != VOID], predicted[there][labels[there] != VOID])
        for outputs, batch in split
        for labels, predicted, there in [(batch["label"], np.argmax(outputs, axis=-1), batch["mask"] > 0)]
    ]
    labels, predicted = map(np.concatenate, zip(*known, strict=True))
    scores = evaluated(task(5, 6), split)
    occurring = np.union1d(labels, predicted)
    iou = metrics.jaccard_score(labels, predicted, labels=occurring, average=None)
    assert np.asarray(scores["iou"])[occurring] == pytest.approx(iou)
    assert scores["miou"] == pytest.approx(iou.mean())
    assert scores["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))


def test_an_influence_is_a_derivative_and_gives_the_jackknife(split):
    confusions = evaluated(task(5, 6), split)["confusions"]

    def miou(weights):
        return np.nanmean(intersection_over_union(np.einsum("i,icp->cp", weights, confusions)))

    moved = np.eye(5) * 1e-6
    derivative = [(miou(1 + move) - miou(1 - move)) / 2e-6 for move in moved]
    np.testing.assert_allclose(influence(confusions), derivative, atol=1e-8)
    assert abs(influence(confusions).sum()) < 1e-12
    rng = np.random.default_rng(1)
    many = rng.multinomial(200, [0.4, 0.1, 0.2, 0.3], 400).reshape(400, 2, 2)
    drawn = [np.nanmean(intersection_over_union(many[rng.integers(0, 400, 400)].sum(axis=0))) for _ in range(400)]
    assert standard_error(many) == pytest.approx(np.std(drawn), rel=0.15)


def test_the_loss_of_a_batch_is_the_mean_over_its_known_pixels_and_its_gradient_is_nothing_at_void(split):
    outputs, batch = split[0]
    own = task(5, 6)
    loss, gradient = jax.value_and_grad(own.loss)(outputs, batch["label"])
    log_p = np.asarray(jax.nn.log_softmax(outputs))
    known = batch["label"] != VOID
    assert loss == pytest.approx(
        np.mean([-log_p[(*at, batch["label"][tuple(at)])] for at in np.argwhere(known)]), rel=1e-5
    )
    assert np.abs(np.asarray(gradient)[~known]).max() == 0
    assert np.abs(np.asarray(gradient)[known]).max() > 0
    assert own.loss(outputs, np.full_like(batch["label"], VOID)) == 0


def test_scores_are_taken_at_the_size_of_the_labels():
    """A network of 3 x 3 pixels, images of 5 x 5: between its pixels, the logits are interpolated."""
    labels = np.array([[[0, 0, 0, 1, 1]] * 5], np.uint8)
    batch = {"label": labels, "mask": np.ones(1, np.float32)}
    own = task(2, 5)
    outputs = np.zeros((1, 3, 3, 2), np.float32)
    outputs[..., 0] = np.array([3.0, 1.0, -3.0])  # 3, 2, 1, -1, -3 after
    assert evaluated(own, [(jnp.asarray(outputs), batch)])["miou"] == 1


def test_a_split_of_void_has_no_scores():
    batch = {"label": np.full((1, 4, 4), VOID, np.uint8), "mask": np.ones(1, np.float32)}
    with pytest.raises(UserError, match="all pixels of the split are void"):
        evaluated(task(), [(jnp.zeros((1, 4, 4, 3)), batch)])
    with pytest.raises(UserError, match="no image of the split can be read"):
        evaluated(task(), [(jnp.zeros((1, 4, 4, 3)), batch | {"mask": np.zeros(1, np.float32)})])


def test_a_network_that_classifies_is_named():
    with pytest.raises(UserError, match=r"network Net returns the shape \(2, 3\); expected are logits \(batch, height"):
        task().outputs(jnp.zeros((2, 3)), jnp.zeros((2, 4, 4, 1)), "Net")
    with pytest.raises(UserError, match="returns tuple"):
        task().outputs((), jnp.zeros((2, 4, 4, 1)), "Net")


def test_what_is_kept_of_each_image(split):
    own = task(5, 6)
    scores = evaluated(own, split)
    with np.load(io.BytesIO(own.outcomes(scores))) as file:
        np.testing.assert_array_equal(file["confusions"], scores["confusions"])
    assert own.result(scores)["iou"][4] is None
    assert len(own.validation(scores)["influence"]) == 5
