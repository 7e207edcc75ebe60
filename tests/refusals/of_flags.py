"""Flags that do not exist, contradict each other, or would have no effect."""

import shlex

from tests.refusals.case import Case, config

_FILE = {"config.py": config("config.sweep.model.alpha = (1.0, 0.5)")}


def _flags(what: str, *flags: str, command: str = "sweep", reads: bool = False) -> Case:
    return Case(what, shlex.join([command, "--config", "config.py", *flags]), _FILE, reads)


def _hosts(what: str, coordinator: str | None, num_processes: int | None = 2, process_id: int | None = 1) -> Case:
    values = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    given = (f"--config.launch.{name}={value}" for name, value in values.items() if value is not None)
    return _flags(what, *given, command="train", reads=True)


CASES = (
    _flags("a misspelt flag", "--workdri=runs"),
    _flags("an argument without a dash", "imagenet"),
    _flags("a switch with a value", "--dry_run=perhaps"),
    _flags("a misspelt field", "--config.model.alhpa=1"),
    _flags("a field without its group", "--config.learning_rate=0.1"),
    _flags("a group instead of a field", "--config.model=mobilenet_v2"),
    _flags("a field that nobody sets", "--config.data.fingerprint=abc"),
    _flags("a misspelt axis", "--config.sweep.model.alhpa=(1,)"),
    _flags("an axis that is no literal", "--config.sweep.seed=(0,1"),
    _flags("a value twice in an axis", "--config.sweep.seed=(1,1)"),
    _flags("a word in an axis of numbers", "--config.sweep.seed=(0,'one')"),
    _flags("a word for a number", "--config.train.epochs=many"),
    _flags("a fraction for a whole number", "--config.train.batch_size=64.5"),
    _flags("a word for a switch of the config", "--config.data.flip=sometimes"),
    _flags("a value beside an axis of the same field", "--config.model.alpha=0.25"),
    _flags("an unknown launcher", "--launcher=slrum"),
    _flags("an unknown launcher of the config", "--config.launch.launcher=loacl"),
    _flags("a launcher of a file that is not there", "--launcher=launcher.py:launch"),
    _flags("a launcher of a package that is not there", "--launcher=no_such_package:launch"),
    _flags("an unknown tracker", "--config.launch.trackers=('tensorboard','mlfow')"),
    _flags("several hosts of one machine", "--config.launch.hosts_per_group=2"),
    _flags("--retry of what is not retried", "--retry=done"),
    _flags("a tuned field that is swept as well", "--config.tune.model.alpha=(1.0,0.5)"),
    _flags("a tuned seed", "--config.tune.seed=(0,1)"),
    _flags("a tuned split", "--config.tune.data.validation_split=('validation','test')"),
    _flags("a tuned field that is misspelt", "--config.tune.optim.learning_rat=(0.1,0.2)"),
    _flags("a tuned value twice", "--config.tune.optim.learning_rate=(0.1,0.1)"),
    _flags("a value beside the tuned ones", "--config.tune.optim.momentum=(0.8,0.9)", "--config.optim.momentum=0.7"),
    _flags(
        "tuning without a validation split", "--config.tune.optim.momentum=(0.8,0.9)", "--config.data.validation_split="
    ),
    _flags("tuning on the test split", "--config.tune.optim.momentum=(0.8,0.9)", "--config.data.validation_split=test"),
    _flags(
        "tuning on training images",
        "--config.tune.optim.momentum=(0.8,0.9)",
        "--config.data.validation_split=train[3000:]",
        reads=True,
    ),
    _flags("trial runs longer than the trials", "--config.tune.optim.momentum=(0.8,0.9)", "--config.tune_epochs=100"),
    _flags("trial runs of nothing", "--config.tune_epochs=2"),
    _flags("--extend without tuning", "--extend"),
    _flags("--dry_run beside --status", "--dry_run", "--status"),
    _flags("--retry beside --status", "--retry=diverged", "--status"),
    _flags("more devices than there are", "--config.launch.devices_per_group=64", reads=True),
    _flags("a coordinator of a sweep", "--config.launch.coordinator=localhost:1234"),
    _hosts("a coordinator without processes", "localhost:1234", None, None),
    _hosts("processes without a coordinator", None),
    _hosts("processes of a coordinator that is found", "auto"),
    _hosts("a process beyond their number", "localhost:1234", process_id=2),
    _hosts("a coordinator without a port", "localhost"),
    _hosts("a coordinator whose port is a word", "localhost:http"),
    _flags("--config beside --workdir", "--workdir=runs", command="evaluate"),
    _flags("--workdir beside --weights", "--workdir=runs", "--weights=w.h5", command="evaluate"),
    Case("neither weights nor a workdir", "evaluate"),
    Case("weights without a config", "evaluate --weights w.h5"),
    Case("a workdir to evaluate that is not there", "evaluate --workdir rnus"),
    Case("scales in words", "evaluate --workdir runs --scales=half,1"),
    Case("scales without 1", "evaluate --workdir runs --scales=0.5,0.75"),
    Case("fewer pictures than none", "evaluate --workdir runs --pictures=-1"),
    _flags("flips of imported weights", "--weights=w.h5", "--flip", command="evaluate"),
    Case("a workdir to report that is not there", "report --workdir rnus"),
    Case("a workdir without trials", "report --workdir empty", {"empty/notes.txt": "none"}),
    Case("two workdirs without --output", "report --workdir a --workdir b"),
    Case("no --workdir", "report"),
    Case("an unknown flag of report", "report --workdir a --outptu b"),
    Case("a published grid that there is not", "report --published mobilenet_v3 --output o"),
    Case("a published grid without a folder for it", "report --published mobilenet_v1"),
    Case("a published grid beside a workdir", "report --published mobilenet_v1 --output o --workdir a"),
    Case("a misspelt axis to predict at", "report --workdir a --predict alhpa=0.5"),
    Case("a place to predict at without an axis", "report --workdir a --predict 0.5"),
    Case("a place to predict at that says alpha twice", "report --workdir a --predict alpha=1,alpha=0.5"),
    Case("an input size to predict at of half a pixel", "report --workdir a --predict input_size=20.5"),
    Case("two forms of the table", "report --workdir a --csv --json"),
    Case("a form of the table beside a budget", "report --workdir a --latex --budget 1M"),
    Case("a page to open that is not written", "report --workdir a --open"),
    Case("a port of what is not served", "report --workdir a --html --port 8000"),
    Case("a page that is written and served", "report --workdir a --live --html"),
    Case("a port that there is not", "report --workdir a --live --port 70000"),
    Case("a budget that is a word", "report --workdir a --budget lots"),
    Case("a workdir that is a file", "sweep --config config.py --workdir notes.txt", _FILE | {"notes.txt": "none"}),
    Case("a workdir below a file", "sweep --config config.py --workdir notes.txt/runs", _FILE | {"notes.txt": "none"}),
    _flags("a flag of another command", "--json", command="train"),
)
