"""Exact accuracy over a whole split: padded and masked batches, sums and counts, each image once.

    python -m mnet_jax.evaluate --weights FILE --config FILE [--config.field=value ...]
    python -m mnet_jax.evaluate --workdir DIR [--pictures N] [--scales=0.75,1,1.25] [--flip]

The first evaluates imported weights (see `pretrained`) on the test split of the config, with the padding, the crop, the
filter and the range of pixels that their source used, unless the config sets them. The second evaluates the latest
checkpoint of every trial of a sweep, but for the trial runs of `config.tune`; of networks that segment it draws the
first N test images, with mask and prediction, into the folder `pictures` of the trial, and takes scales and flips in
place of those of the config (`data.eval_scales`, `data.eval_flip`).
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from absl import flags
from rich.console import Console
from rich.progress import track

from mnet_jax import cli
from mnet_jax.config import passes
from mnet_jax.config.tasks import SCORES
from mnet_jax.data import cache
from mnet_jax.data.stream import open_stream
from mnet_jax.devices.mesh import make_mesh, replicated_on, sharded_on
from mnet_jax.devices.process import configure
from mnet_jax.errors import UserError
from mnet_jax.report.tables import table
from mnet_jax.train import pictures, step, trained
from mnet_jax.train.evaluation import Tally
from mnet_jax.train.tasks.registry import task_of
from mnet_jax.workdir.files import TUNED, TrialFolder, Workdir


def on_test_split(config, network: nn.Module, variables: Mapping[str, Any]) -> dict:
    """Scores and loss on the test split of a resolved config, on all local devices; see `Tally.scores`.

    Args:
      config: of the trial; its batch size is rounded up to a multiple of the devices.
      network: that the config describes.
      variables: its {"params", "batch_stats"}.
    """
    mesh = make_mesh()
    replicated = replicated_on(mesh)
    batch_size = -(-config.train.batch_size // mesh.size) * mesh.size
    stream = open_stream(config, config.data.test_split, mesh)
    eval_step = jax.jit(
        step.make_eval_step(network, config),
        in_shardings=(replicated, sharded_on(mesh)),
        out_shardings=replicated,
    )
    batches = track(
        stream.evaluation_batches(batch_size),
        description="images",
        total=-(-stream.num_examples // batch_size),
        console=Console(stderr=True),
        transient=True,
    )
    tally = Tally(task_of(config), eval_step, jax.device_put(variables, replicated))
    for batch in batches:
        tally.add(batch)
    return tally.scores()


def of_weights(config, path: str) -> dict:
    """The accuracy of a weight file on the test split of a config.

    Raises:
      UserError: the file cannot be read or does not fit the network, or the data are missing.
    """
    network = trained.of_weights(config, path)
    return on_test_split(network.config, network.module, network.variables)


class OfMasks(NamedTuple):
    """What can be asked of networks that segment.

    Attributes:
      pictures: how many `pictures.draw` writes into the folder of a trial.
      scales: in place of `config.data.eval_scales`; empty leaves them.
      flip: flipped images too; False leaves `config.data.eval_flip`.
    """

    pictures: int = 0
    scales: tuple[float, ...] = ()
    flip: bool = False


_NOTHING = OfMasks()


def of_trial(folder: TrialFolder, asked: OfMasks = _NOTHING) -> dict:
    """The scores of a trial's latest checkpoint on its test split, and the "step" of that checkpoint.

    Args:
      folder: of the trial.
      asked: of a network that segments.

    Raises:
      UserError: the trial has no checkpoint, it cannot be read, or the data are missing.
    """
    network = trained.load(folder)
    with network.config.unlocked():
        if asked.scales:
            network.config.data.eval_scales = asked.scales
        if asked.flip:
            network.config.data.eval_flip = True
    cache.check(network.config.data, ("test_split",))
    if asked.pictures:
        paths = pictures.draw(network, folder.pictures_path, asked.pictures)
        print(f"{folder.name}: {len(paths)} pictures in {folder.pictures_path}")
    return on_test_split(network.config, network.module, network.variables) | {"step": network.step}


def _of_workdir(workdir: Workdir, asked: OfMasks = _NOTHING) -> int:
    names = workdir.trial_names()
    if not names:
        raise UserError(f"{workdir.path}: no sweep was started there (it has no trials)")
    if any(asked) and not all(workdir.trial(name).config().get("task") == "segmentation" for name in names):
        flag = next(name for name, value in asked._asdict().items() if value)
        raise UserError(f"--{flag}: trials in {workdir.path} give no class to each pixel")
    found: dict[str, dict | None] = {}
    status = 0
    for name in names:
        if workdir.trial(name).status() == TUNED:
            continue
        try:
            found[name] = of_trial(workdir.trial(name), asked)
        except UserError as error:
            found[name] = None
            print(error)
            status = 1
    columns = dict.fromkeys(column for scores in found.values() if scores for column in _columns(scores))
    columns = list(columns) or _columns({})
    rows = [(name, *_cells(scores, columns)) for name, scores in found.items()]
    print(table(("trial", "step", *columns, "images"), rows, (False, *[True] * (len(columns) + 2))))
    return status


def _columns(scores: Mapping[str, Any]) -> list[str]:
    """The numbers of a task, from what it scored."""
    tasks = list(SCORES.values())
    own = next((of_task for of_task in tasks if of_task[0].column in scores), tasks[0])
    return [*(score.column for score in own), "loss"]


def _cells(scores: Mapping[str, Any] | None, columns: Sequence[str]) -> tuple[str, ...]:
    if scores is None:
        return ("-",) * (len(columns) + 2)
    told = (f"{scores[name]:.4f}" if name in scores else "-" for name in columns)
    return (f"{scores['step']:,}", *told, f"{scores['count']:,}")


def main(file) -> int:
    workdir, weights = flags.FLAGS.workdir, flags.FLAGS.weights
    if (workdir is None) == (weights is None):
        raise UserError("give either --weights FILE and --config FILE, or --workdir DIR")
    if workdir and file is not None:
        raise UserError("--config has no effect beside --workdir: its trials have configs of their own")
    if weights and file is None:
        raise UserError("--weights needs --config FILE, which says the network and the data")
    asked = _asked()
    if any(asked) and weights:
        raise UserError("--pictures, --scales and --flip are for --workdir DIR")
    configure()
    logging.getLogger().setLevel(logging.WARNING)
    if workdir:
        return _of_workdir(Workdir(workdir), asked)
    scores = of_weights(file.config, weights)
    print(json.dumps({name: scores[name] for name in _columns(scores)} | {"images": scores["count"]}))
    return 0


def _asked() -> OfMasks:
    if (num_pictures := flags.FLAGS.pictures) < 0:
        raise UserError(f"--pictures {num_pictures}: must be 0 or more")
    if not (texts := flags.FLAGS.scales):
        return OfMasks(num_pictures, flip=flags.FLAGS.flip)
    try:
        scales = tuple(map(float, texts))
    except ValueError:
        raise UserError(f"--scales={','.join(texts)}: must be numbers, such as 0.75,1,1.25") from None
    return OfMasks(num_pictures, passes.checked("--scales", scales), flags.FLAGS.flip)


if __name__ == "__main__":
    flags.DEFINE_string("weights", None, "Weight file of Keras, torchvision or timm; see mnet_jax.pretrained.")
    flags.DEFINE_string("workdir", None, "Folder of a sweep.")
    flags.DEFINE_integer("pictures", 0, "Test images to draw, of networks that segment.")
    flags.DEFINE_list("scales", None, "At which test images are seen, of networks that segment.")
    flags.DEFINE_bool("flip", False, "And flipped.")
    cli.run(main, needs_config=False, description=__doc__)
