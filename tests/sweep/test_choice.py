import numpy as np
import pytest

from mnet_jax.sweep.choice import Tried, beyond, choose, is_at_edge, look, paired_standard_error
from mnet_jax.workdir import bits
from mnet_jax.workdir.files import DIVERGED, TrialFolder

RATE = "optim.learning_rate"


def influence(correct):
    return (correct - correct.mean()) / len(correct)


def tried(rate, wrong, loss=1.0, images=100):
    """A trial run that has some images wrong."""
    correct = np.ones(images, bool)
    correct[list(wrong)] = False
    return Tried({RATE: rate}, f"rate={rate}", True, "top1", correct.mean(), loss, influence(correct))


def test_the_best_on_the_validation_split_is_chosen():
    runs = [tried(0.1, range(30), loss=0.1), tried(0.2, range(10), loss=0.9), tried(0.4, range(40), loss=0.1)]
    assert choose(runs).values == {RATE: 0.2}


def test_within_a_paired_standard_error_the_lower_loss_decides():
    """10 images against 9 others: a difference of 0.01 with a standard error of sqrt(19)/100."""
    better, other = tried(0.1, range(9), loss=0.5), tried(0.2, range(50, 60), loss=0.4)
    assert paired_standard_error(better.influence, other.influence) == pytest.approx(np.sqrt(0.19 - 0.01**2) / 10)
    assert choose([better, other]).values == {RATE: 0.2}


def test_what_is_wrong_about_the_same_images_and_more_is_told_apart():
    """The same gap, but on nested errors: 4 images in favour, none against, is two standard errors."""
    better, other = tried(0.1, range(10), loss=0.5), tried(0.2, range(14), loss=0.1)
    assert choose([better, other]).values == {RATE: 0.1}


def test_equal_accuracy_and_loss_take_the_first():
    assert choose([tried(0.2, range(5)), tried(0.1, range(5))]).values == {RATE: 0.2}


def test_nothing_is_chosen_before_all_have_ended():
    assert choose([tried(0.1, range(3)), Tried({RATE: 0.2}, "b")]) is None


def test_what_diverged_is_not_chosen():
    diverged = Tried({RATE: 0.4}, "c", has_ended=True)
    assert choose([diverged, tried(0.1, range(3))]).values == {RATE: 0.1}
    assert choose([diverged, diverged]) is None
    assert choose([tried(0.2, [], loss=np.nan), tried(0.1, range(3))]).values == {RATE: 0.1}


@pytest.mark.parametrize(
    ("rates", "best", "edge", "moved"),
    [
        ((0.0125, 0.025, 0.05), 0.05, True, 0.1),
        ((0.05, 0.0125, 0.025), 0.0125, True, 0.00625),
        ((0.0125, 0.025, 0.05), 0.025, False, None),
        ((0.01, 0.03), 0.03, True, 0.09),
        ((0.01,), 0.01, False, None),
    ],
)
def test_the_next_value_has_the_last_ratio(rates, best, edge, moved):
    runs = [tried(rate, range(0 if rate == best else 20)) for rate in rates]
    assert is_at_edge(RATE, choose(runs), runs) is edge
    if edge:
        assert beyond(RATE, choose(runs), runs) == {RATE: moved}


@pytest.mark.parametrize(
    ("key", "values"),
    [("optim.weight_decay", (0.0, 1e-4)), ("optim.momentum", (0.5, 0.9)), ("train.batch_size", (2, 1))],
)
def test_no_next_value_out_of_a_fields_range(key, values):
    """0 has no ratio, a momentum of 1.62 is none, nor is half an image."""
    best = values[-1] if key != "optim.weight_decay" else 0.0
    runs = [Tried({key: value}, "t", True, "top1", float(value == best), 1.0, np.zeros(10)) for value in values]
    assert is_at_edge(key, choose(runs), runs)
    assert beyond(key, choose(runs), runs) is None


@pytest.mark.parametrize("harm", [{}, {"top1": None}, {"correct": "no base64!"}, {"images": 1000}])
def test_what_a_folder_does_not_say_has_not_ended(tmp_path, harm):
    folder = TrialFolder(tmp_path)
    said = {"top1": 0.5, "top5": 1.0, "loss": 0.7, "images": 4, "correct": bits.as_text([True, False, True, False])}
    if harm:
        folder.set_validation(said | harm)
        assert not look(folder, {RATE: 0.1}).has_ended
    else:
        folder.set_validation(said)
        found = look(folder, {RATE: 0.1})
        assert (found.column, found.score, found.loss) == ("top1", 0.5, 0.7)
        assert found.influence.tolist() == [0.125, -0.125, 0.125, -0.125]


def test_another_task_is_judged_by_its_own_score_and_what_each_image_does_to_it(tmp_path):
    folder = TrialFolder(tmp_path)
    folder.set_validation({"miou": 0.25, "pixel_accuracy": 0.5, "loss": 0.7, "images": 2, "influence": [0.1, -0.1]})
    found = look(folder, {RATE: 0.1})
    assert (found.column, found.score, found.influence.tolist()) == ("miou", 0.25, [0.1, -0.1])


def test_a_trial_run_that_diverged_has_ended_without_scores(tmp_path):
    folder = TrialFolder(tmp_path)
    folder.set_status(DIVERGED, "the loss of step 3 is nan")
    assert look(folder, {}) == Tried({}, tmp_path.name, has_ended=True)
