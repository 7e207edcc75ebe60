"""What is given to a cluster again, and what is not. This cluster does what a test says; real ones: tests/clusters."""

import pytest

from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.sweep.launchers import queue
from mnet_jax.sweep.launchers.queue import End, Queue
from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.jobs import Jobs, Ticket


class Script:
    """A cluster in which a group does at once what the test says, at its first start, its second, and so on."""

    def __init__(self, workdir, *acts, refuses=False):
        self.workdir, self.acts, self.refuses = workdir, list(acts), refuses
        self.submitted, self.left, self.stopped, self.ending = [], set(), set(), End()

    def submit(self, job, groups):
        if self.refuses:
            raise UserError("no such partition")
        for index, names in enumerate(groups):
            self.submitted.append(names)
            ticket = Ticket(job, index)
            if self.acts and self.acts.pop(0)(self, ticket, [self.workdir.trial(name) for name in names]):
                self.left.add(ticket)

    def alive(self, jobs):
        return {ticket for ticket in self.left if ticket.job in set(jobs)}

    def stop(self, tickets):
        self.stopped |= set(tickets)
        self.left -= set(tickets)

    def kill(self, tickets):
        raise AssertionError

    def end(self, ticket):
        return self.ending


def finishes(script, ticket, folders):
    Jobs(script.workdir).begin(ticket)
    for folder in folders:
        folder.set_result({"top1": 0.5})


def dies(script, ticket, folders):
    Jobs(script.workdir).begin(ticket)
    folders[0].set_status("running")


def saves_and_dies(script, ticket, folders):
    dies(script, ticket, folders)
    (folders[0].checkpoints_path / str(folders[0].saved_step() + 1)).mkdir(parents=True)


def vanishes(script, ticket, folders):
    pass


def stays(script, ticket, folders):
    return True


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(queue, "_POLL_SECONDS", 0.0)


@pytest.fixture
def workdir(tmp_path):
    workdir = Workdir(tmp_path)
    for name in ("a", "b", "c"):
        workdir.trial(name).create({"seed": 1})
    return workdir


def run(script, groups, interruption=None):
    waiting = Queue(script, script.workdir)
    folders = [[script.workdir.trial(name) for name in group] for group in groups]
    polled = []
    given = waiting.submit(folders)
    waiting.wait(given, interruption or Interruption(), polled.append)
    return {folder.name for folder in polled}


def states(workdir):
    return [(workdir.trial(name).status(), workdir.trial(name).error()) for name in "abc"]


def test_each_group_is_given_once_and_nothing_is_left_of_it(workdir):
    script = Script(workdir, finishes, finishes)
    assert run(script, [["a", "b"], ["c"]]) == {"a", "b", "c"}
    assert script.submitted == [["a", "b"], ["c"]]
    assert [status for status, _ in states(workdir)] == ["done"] * 3
    assert not list((workdir.path / "jobs").iterdir())


def test_what_ends_without_a_word_starts_again_as_long_as_it_saves(workdir):
    script = Script(workdir, *[saves_and_dies] * 6, finishes)
    run(script, [["a"]])
    assert script.submitted == [["a"]] * 7
    assert workdir.trial("a").status() == "done"


def test_what_ends_three_times_at_one_step_has_failed(workdir):
    script = Script(workdir, dies, dies, dies, finishes)
    run(script, [["a"]])
    assert script.submitted == [["a"]] * 3
    assert states(workdir)[0] == ("failed", "its job ended three times without a step saved in between")


def test_what_somebody_cancelled_is_left_to_the_next_command(workdir):
    script = Script(workdir, vanishes, finishes)
    script.ending = End("Slurm says CANCELLED", is_cancelled=True)
    run(script, [["a"]])
    assert states(workdir)[0] == ("queued", "its job was cancelled (Slurm says CANCELLED)")
    run(script, [["a"]])
    assert states(workdir)[0] == ("done", None)


def test_a_node_that_does_not_see_the_workdir_ends_all(workdir):
    script = Script(workdir, stays, vanishes)
    with pytest.raises(UserError, match="ended before it began: all nodes must see the workdir"):
        run(script, [["a"], ["b"]])
    assert len(script.stopped) == 1


def test_a_refused_job_is_not_remembered(workdir):
    with pytest.raises(UserError, match="no such partition"):
        run(Script(workdir, refuses=True), [["a"]])
    assert not list((workdir.path / "jobs").iterdir())


def test_the_next_command_waits_for_what_is_there_and_gives_the_rest(workdir):
    """Groups may be others then; what is in the cluster for other trials alone is not waited for."""
    script = Script(workdir, stays, stays)
    Queue(script, workdir).submit([[workdir.trial("a"), workdir.trial("b")], [workdir.trial("c")]])
    (first, _), script.acts = sorted(script.left), [finishes]
    workdir.trial("d").create({"seed": 1})
    waiting = Queue(script, workdir)
    given = waiting.submit([[workdir.trial("d"), workdir.trial("b")]])
    assert script.submitted[2:] == [["d"]]
    assert sorted([folder.name for folder in folders] for folders in given.values()) == [["a", "b"], ["d"]]
    script.left.remove(first)
    Jobs(workdir).begin(first)
    for name in "ab":
        workdir.trial(name).set_result({"top1": 0.5})
    waiting.wait(given, Interruption(), lambda _: None)
    assert [status for status, _ in states(workdir)] == ["done", "done", "queued"]
    assert len(Jobs(workdir).groups()) == 2, "the job of c is still known"


def test_an_interruption_stops_what_is_there(workdir):
    interruption = Interruption()
    interruption.set("SIGTERM")
    script = Script(workdir, stays)
    with pytest.raises(Interrupted):
        run(script, [["a"]], interruption)
    assert states(workdir)[0] == ("queued", "stopped by SIGTERM")
    assert not Jobs(workdir).groups()
