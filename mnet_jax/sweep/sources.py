"""The source of networks of one's own: kept in the workdir, and the same from a trial's start to its end."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mnet_jax.config.source import keep, source_of
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.workdir.files import DONE, TrialFolder, Workdir
from mnet_jax.workdir.whole import Damaged


def check_sources(workdir: Workdir, trials: Mapping[str, ConfigDict], accept: bool) -> list[str]:
    """Refuses to go on with trials whose network is not what it was when they were started.

    Returns:
      The fingerprints of changed sources that were accepted, now or earlier.

    Raises:
      UserError: the source of a network of one's own changed; or, whether accepted or not, the default of an option
        did, so that a trial is no longer what its hash says.
    """
    accepted = list(workdir.sweep().get("accepted_models", ()))
    for name, trial in trials.items():
        folder = workdir.trial(name)
        before = _started_with(folder) if folder.status() == DONE or folder.saved_step() else {}
        if not before or before.get("fingerprint") == trial.model.get("fingerprint"):
            continue
        now = json.loads(json.dumps(trial.model.to_dict()))  # tuples as lists
        for option in registry.options(registry.find(trial.model.name)):
            if before.get(option, now[option]) != now[option]:
                raise UserError(
                    f"{trial.model.path}: the default of {option} changed from {before[option]!r} to {now[option]!r} "
                    f"since trial {name} was started: set config.model.{option}, or choose another --workdir"
                )
        if accept and trial.model.fingerprint not in accepted:
            accepted.append(trial.model.fingerprint)
        if trial.model.fingerprint not in accepted:
            raise UserError(
                f"{trial.model.path}: the source of {trial.model.name} changed since trial {name} was started (kept in "
                f"{workdir.source_path(before['source'])}); --accept_changed_model goes on with the new one, another "
                "--workdir starts afresh"
            )
    return accepted


def _started_with(folder: TrialFolder) -> dict[str, Any]:
    """`config.model` of a trial; empty where it is damaged and will be written again."""
    try:
        return folder.config()["model"]
    except Damaged:
        return {}


def keep_source(trial: ConfigDict, workdir: Workdir) -> None:
    """Copies what a network of one's own is made of into the workdir, where the processes that train find it."""
    if trial.model.get("fingerprint"):
        source = source_of(registry.find(trial.model.name))
        keep(source, workdir.source_path(source.digest))
