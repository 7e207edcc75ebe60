import contextlib
import time

import pytest

from mnet_jax.config.identity import compile_key
from mnet_jax.config.resolve import resolve
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.train import loop, step
from mnet_jax.train.compiled import compilers
from tests.trials import folder_of, scores


@pytest.mark.parametrize(
    ("overrides", "is_shared"),
    [
        ({"seed": 5}, True),
        ({"train.log_every_steps": 7}, True),
        ({"train.eval_every_epochs": 0.5}, True),
        ({"input_size": 12}, False),
        ({"optim.learning_rate": 0.5}, True),
        ({"optim.weight_decay": 0.0}, True),
        ({"train.label_smoothing": 0.1}, True),
        ({"optim.momentum": 0.8}, False),
        ({"train.ema_decay": 0.9}, False),
    ],
)
def test_what_no_compiled_step_holds_is_no_part_of_its_key(tiny, overrides, is_shared):
    ours = compile_key(resolve(tiny, overrides))
    assert (ours == compile_key(resolve(tiny))) is is_shared


def test_seeds_and_rates_share_compiled_steps_and_train_to_results_of_their_own(tmp_path, tiny, monkeypatch):
    tiny.train.epochs = 0.5
    traced = []
    make_train_step = step.make_train_step

    def noted(model, optimizer, config, *more):
        traced.append(config.input_size)
        return make_train_step(model, optimizer, config, *more)

    monkeypatch.setattr(step, "make_train_step", noted)
    variants = ({"seed": 0}, {"seed": 1}, {"optim__learning_rate": 0.01}, {"input_size": 12})
    folders = [folder_of(tmp_path / str(i), tiny, **variant) for i, variant in enumerate(variants)]
    loop.train(folders, Interruption())
    assert [folder.status() for folder in folders] == ["done"] * 4
    assert traced == [16, 12]
    assert len({scores(folder)["loss"] for folder in folders[:3]}) == 3
    rates = [folder.metrics()[0]["learning_rate"] for folder in folders]
    assert rates[0] == pytest.approx(5 * rates[2]), (
        "the log shows the rate of a trial, not of those it shares a step with"
    )


def test_a_step_that_does_not_compile_fails_its_trials_alone(tmp_path, tiny, monkeypatch):
    tiny.train.epochs = 0.5
    make_train_step = step.make_train_step

    def broken_at_12(model, optimizer, config, *more):
        if config.input_size == 12:
            raise ValueError("no such kernel")
        return make_train_step(model, optimizer, config, *more)

    monkeypatch.setattr(step, "make_train_step", broken_at_12)
    broken, whole = folder_of(tmp_path / "broken", tiny, input_size=12), folder_of(tmp_path / "whole", tiny)
    loop.train([broken, whole], Interruption())
    assert (broken.status(), broken.error()) == ("failed", "ValueError: no such kernel")
    assert whole.status() == "done"


def test_what_has_not_begun_is_not_compiled_after_an_interruption():
    with contextlib.suppress(Interrupted), compilers() as threads:
        pending = [threads.submit(time.sleep, 0.05) for _ in range(1000)]
        raise Interrupted("SIGTERM")
    assert pending[0].result() is None
    assert pending[-1].cancelled()


def test_all_is_compiled_where_nobody_interrupts():
    with compilers() as threads:
        pending = [threads.submit(time.sleep, 0.01) for _ in range(20)]
    assert all(future.done() and not future.cancelled() for future in pending)
