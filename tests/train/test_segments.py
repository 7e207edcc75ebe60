"""A second task goes the same road: loop, checkpoints, replicates, result, table, plots, evaluation."""

import io
import re

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh
from PIL import Image

from mnet_jax import evaluate, presets
from mnet_jax.config.resolve import resolve
from mnet_jax.data.stream import open_stream
from mnet_jax.devices.mesh import make_mesh, replicated_on, sharded_on
from mnet_jax.devices.signals import Interrupted, Interruption
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.report import plots
from mnet_jax.report.tables import as_summary, as_table
from mnet_jax.train import inputs, loop, pictures, step
from mnet_jax.train.evaluation import Tally
from mnet_jax.train.tasks.registry import task_of
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir
from tests import pixel_network
from tests.trials import StopAfter, final_state, folder_of

SCORES = ("miou", "miou_se", "foreground_miou", "background_only_miou", "pixel_accuracy", "loss", "iou", "test_images")


@pytest.fixture
def scenes(data_dir, monkeypatch):
    """An unlocked config of 64 scenes: 8 steps."""
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))
    config = presets.get("scenes")
    config.input_size = 96
    config.data.update(
        data_dir=data_dir, train_split="train[:64]", validation_split="validation[:16]", test_split="test[:20]"
    )
    config.model.update(name=pixel_network.NAME, output_stride=None, aspp=None, bn_momentum=None)
    config.train.update(batch_size=16, epochs=2.0, log_every_steps=1)
    return config


def said(folder):
    return {name: folder.result()[name] for name in SCORES}


def test_it_trains_scores_and_resumes_bit_for_bit_whoever_shares_its_stream(tmp_path, scenes):
    inputs.prepare(inputs.settle(scenes))
    scenes = inputs.settle(scenes).unlock()
    work = Workdir(tmp_path / "work")
    whole, smaller = (folder_of(work.path / "trials" / f"size={size}", scenes, input_size=size) for size in (96, 64))
    loop.train([whole, smaller], Interruption())
    assert [folder.status() for folder in (whole, smaller)] == ["done", "done"], whole.error()
    stopped = folder_of(tmp_path / "stopped", scenes)
    with pytest.raises(Interrupted):
        loop.train([stopped], StopAfter(6))
    assert 0 < stopped.saved_step() < 8
    loop.train([stopped], Interruption())
    assert said(stopped) == said(whole)
    for key, value in final_state(whole).items():
        np.testing.assert_array_equal(final_state(stopped)[key], value, err_msg=key)

    result = whole.result()
    assert result["test_images"] == 20
    assert len(result["iou"]) == 11
    assert 0.05 < result["background_only_miou"] < result["miou"] < 1
    assert 0 < result["miou_se"] < 0.2
    with np.load(io.BytesIO(whole.predictions_path.read_bytes())) as file:
        total = file["confusions"].sum(axis=0)
        assert file["confusions"].shape == (20, 11, 11)
    assert np.trace(total) / total.sum() == pytest.approx(result["pixel_accuracy"])
    assert len(whole.validation()["influence"]) == 16
    assert [row["split"] for row in whole.metrics() if "miou" in row] == ["validation"] * 2

    rows = results.collect(work)
    assert [(row["task"], row["top1"], row["top5"]) for row in rows] == [("segmentation", None, None)] * 2
    assert {row["trial"]: row["miou"] for row in rows} == {f.name: f.result()["miou"] for f in (whole, smaller)}
    rows = [row | {"mult_adds": 100 * row["input_size"] ** 2, "params": 1000} for row in rows]
    results.write(work, rows)
    assert results.read(work.results_path) == rows
    header, _, first = as_table(rows).splitlines()
    assert re.search(r"miou +se +pixel_accuracy +loss", header)
    assert first.split()[3:6] == [f"{result[name]:.4f}" for name in ("miou", "miou_se", "pixel_accuracy")]
    assert "top1" not in header
    assert as_summary(rows) == ""
    assert [path.rpartition("/")[2] for path in plots.draw(work)] == ["miou_vs_mult_adds.png", "miou_vs_params.png"]

    scores = evaluate.of_trial(whole, evaluate.OfMasks(pictures=3))
    assert scores["miou"] == pytest.approx(result["miou"], abs=1e-6)
    assert scores["count"] == 20
    assert sorted(path.name for path in whole.pictures_path.iterdir()) == ["0000.png", "0001.png", "0002.png"]
    picture = np.asarray(Image.open(whole.pictures_path / "0000.png"))
    assert picture.shape == (96, 3 * 96 + 2 * 4, 3)
    image, truth, predicted = picture[:, :96], picture[:, 100:196], picture[:, 200:]
    assert (image == image[..., :1]).all(), "gray"
    void = (truth == (224, 224, 192)).all(axis=-1)
    assert 0 < void.mean() < 0.5
    assert (predicted[void] == (224, 224, 192)).all()
    known = {tuple(colour) for colour in pictures.palette()[:11]}
    assert {tuple(colour) for colour in np.concatenate([truth[~void], predicted[~void]])} <= known


def test_one_device_and_eight_count_the_same_pixels(scenes):
    """Also those of several scales and of flips, in batches that the images do not fill."""
    inputs.prepare(inputs.settle(scenes))
    config = inputs.settle(scenes, {"data.eval_scales": (0.75, 1.0), "data.eval_flip": True})
    module = registry.build(config.model)
    variables = module.init(jax.random.key(0), np.zeros((1, 96, 96, 1), np.float32), train=False)
    found = []
    alone = Mesh(np.array(jax.devices()[:1]), ("data",), axis_types=(AxisType.Auto,))
    for mesh in (alone, make_mesh()):
        stream = open_stream(config, config.data.test_split, mesh)
        eval_step = jax.jit(step.make_eval_step(module, config), in_shardings=(replicated_on(mesh), sharded_on(mesh)))
        tally = Tally(task_of(config), eval_step, variables)
        for batch in stream.evaluation_batches(16):
            tally.add(batch)
        found.append(tally.scores())
    assert make_mesh().size == 8
    one, eight = found
    np.testing.assert_array_equal(one["confusions"], eight["confusions"])
    for key in ("miou", "miou_se", "pixel_accuracy", "count"):
        assert one[key] == eight[key]
    assert one["loss"] == pytest.approx(eight["loss"], rel=1e-6)


def test_the_palette_is_that_of_voc():
    """Aeroplane, bicycle, person, void: as the development kit has them."""
    assert pictures.palette()[[0, 1, 2, 15, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192],
    ]  # fmt: skip


def test_replicates_train_as_one_step(tmp_path, scenes):
    scenes = inputs.settle(scenes).unlock()
    inputs.prepare(scenes)
    alone, together = (
        [folder_of(tmp_path / f"{vmapped}{seed}", scenes, train__vmap_replicates=vmapped, seed=seed) for seed in (0, 1)]
        for vmapped in (False, True)
    )
    for folders in (alone, together):
        loop.train(folders, Interruption())
    for one, other in zip(alone, together, strict=True):
        assert one.result()["loss"] == pytest.approx(other.result()["loss"], rel=1e-3)
        assert one.result()["miou"] == pytest.approx(other.result()["miou"], abs=1e-2)
    assert alone[0].result()["loss"] != alone[1].result()["loss"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"task": "classification"},
            "is for segmentation, and config.task='classification': networks",
        ),
        (
            {"model.name": "mobilenet_v1"},
            "is for classification, and config.task='segmentation'",
        ),
        ({"train.mixup_alpha": 0.2}, "config.train.mixup_alpha=0.2: must be 0.0 with config.task='segmentation'"),
        ({"data.crop": "shift"}, "config.data.crop='shift': must be 'none' with config.task='segmentation'"),
        ({"task": "detection"}, r"config.task='detection' \(known: classification, segmentation\)"),
    ],
)
def test_what_does_not_fit_the_task_is_refused(scenes, overrides, message):
    with pytest.raises(UserError, match=message):
        resolve(scenes, overrides)


def test_data_of_another_task_are_refused(scenes):
    with pytest.raises(UserError, match=r"mnist5k has a class for each image: set --config\.task=classification, not"):
        inputs.settle(scenes, {"data.name": "mnist5k"})
    digits = presets.get("mnist5k")
    with pytest.raises(UserError, match=r"scenes has masks: set --config\.task=segmentation, not classification"):
        inputs.settle(digits, {"data.name": "scenes"})
