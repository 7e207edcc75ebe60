"""What a trial makes of each test image, kept beside the results, and never missed."""

import numpy as np
import pytest

from mnet_jax import presets
from mnet_jax.config.resolve import resolve
from mnet_jax.train.tasks.segmentation import Segmentation
from mnet_jax.workdir import predictions, results
from mnet_jax.workdir.confusions import intersection_over_union
from mnet_jax.workdir.files import WatchedFolder, Workdir
from tests.finished import finish

NAMES = ("trial-00000000", "trial-00000001")


@pytest.fixture
def bits():
    """Of two trials with a top-1 of 0.5 and 0.51 on 100 images."""
    rng = np.random.default_rng(0)
    return {name: rng.permutation(100) < right for name, right in zip(NAMES, (50, 51), strict=True)}


@pytest.fixture
def workdir(tmp_path, bits):
    configs = [resolve(presets.get("mnist5k"), {"model.alpha": alpha}).to_dict() for alpha in (1.0, 0.5)]
    workdir = finish(tmp_path / "work", configs)
    for name, own in bits.items():
        workdir.trial(name).set_predictions(predictions.encoded(own))
    return workdir


def read(workdir):
    return predictions.of_workdirs([workdir.path], results.results(workdir.path))


def test_a_trials_file_holds_packed_bits_and_their_number(workdir, bits):
    with np.load(workdir.trial(NAMES[0]).predictions_path) as file:
        assert sorted(file) == ["correct", "num_images"]
        assert int(file["num_images"]) == 100
        assert file["correct"].tolist() == np.packbits(bits[NAMES[0]]).tolist()


def test_bits_come_back_in_their_order(workdir, bits):
    found, remarks = read(workdir)
    assert {name: own.tolist() for name, own in found.items()} == {name: own.tolist() for name, own in bits.items()}
    assert remarks == []


def test_a_folder_of_a_table_has_one_file_with_a_member_for_each_trial(workdir, bits, tmp_path):
    table = Workdir(tmp_path / "table")
    table.path.mkdir()
    results.write(table, results.results(workdir.path))
    assert read(table) == ({}, []), "no file, no bits, no complaint"
    predictions.write_all(table, bits)
    with np.load(table.predictions_path) as file:
        assert tuple(file) == NAMES
    found, remarks = read(table)
    assert {name: own.tolist() for name, own in found.items()} == {name: own.tolist() for name, own in bits.items()}
    assert remarks == []


def spoil_bytes(path):
    content = bytearray(path.read_bytes())
    for i in range(40, len(content), 7):
        content[i] ^= 0xFF
    path.write_bytes(content)


def spoil_bits(path):
    path.write_bytes(predictions.encoded(np.ones(100, bool)))


def spoil_length(path):
    path.write_bytes(predictions.encoded(np.arange(60) < 30))


def put_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no archive"),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.unlink(),
        spoil_bytes,
        spoil_bits,
        spoil_length,
        put_folder,
    ],
)
def test_damage_costs_the_bits_and_nothing_else(workdir, bits, damage):
    """The trial stays done, and the table the same."""
    before = results.results(workdir.path)
    path = workdir.trial(NAMES[0]).predictions_path
    damage(path)
    found, remarks = read(workdir)
    assert list(found) == [NAMES[1]]
    assert [workdir.trial(name).status() for name in NAMES] == ["done", "done"]
    assert results.results(workdir.path) == before
    assert all(remark.startswith(f"{path} is damaged (") for remark in remarks)
    assert len(remarks) == path.exists(), "what is not there is not complained about"


def test_bits_of_a_trial_in_two_workdirs_are_read_once(workdir, bits, tmp_path):
    other = finish(tmp_path / "other", [workdir.trial(NAMES[0]).config()], top1=lambda i: 0.5)
    rows = results.results(workdir.path, other.path)
    found, remarks = predictions.of_workdirs([other.path, workdir.path], rows)
    assert set(found) == set(NAMES)
    assert remarks == []


def test_a_process_that_trains_along_writes_nothing(tmp_path):
    WatchedFolder(tmp_path).set_predictions(b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def segmented(tmp_path):
    """A workdir with one trial, which segments 100 images of 4 classes, and its scores."""
    config = resolve(presets.get("scenes"))
    confusions = np.random.default_rng(0).multinomial(200, np.full(16, 1 / 20) + np.eye(4).ravel() / 20, 100)
    part = {"confusion": confusions.reshape(100, 4, 4).astype(np.int32), "loss": 1.0, "pixels": 20_000.0}
    scores = Segmentation(config).scores([part])
    workdir = finish(tmp_path / "segmented", [config.to_dict()])
    folder = workdir.trial(NAMES[0])
    folder.set_result(folder.result() | {name: scores[name] for name in ("miou", "miou_se")})
    folder.set_predictions(Segmentation(config).outcomes(scores))
    return workdir, scores


def test_shares_move_as_miou_does_when_images_are_drawn_anew(segmented):
    workdir, scores = segmented
    found, remarks = read(workdir)
    assert remarks == []
    shares = found[NAMES[0]]
    assert shares.mean() == pytest.approx(scores["miou"], abs=1e-12)
    rng = np.random.default_rng(1)
    moved, expected = [], []
    for _ in range(200):
        drawn = rng.integers(0, 100, 100)
        moved.append(shares[drawn].mean())
        expected.append(intersection_over_union(scores["confusions"][drawn].sum(axis=0)).mean())
    assert np.std(expected) == pytest.approx(scores["miou_se"], rel=0.2)
    assert np.abs(np.subtract(moved, expected)).max() < np.std(expected) / 4


def test_shares_of_segmentations_stand_beside_a_table(segmented, tmp_path):
    workdir, _ = segmented
    (found, _), table = read(workdir), Workdir(tmp_path / "table")
    table.path.mkdir()
    results.write(table, results.results(workdir.path))
    predictions.write_all(table, found)
    again, remarks = read(table)
    assert remarks == []
    np.testing.assert_allclose(again[NAMES[0]], found[NAMES[0]], rtol=1e-6)


def one_pixel_moved(confusions):
    confusions[0, 0] += (-1, 1, 0, 0)
    return confusions


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("confusions", one_pixel_moved),
        ("confusions", lambda confusions: confusions[:99]),
        ("confusions", lambda confusions: confusions[:, 0]),
        ("others", lambda confusions: confusions),
    ],
)
def test_confusions_that_contradict_the_result_are_done_without(segmented, name, damage):
    workdir, _ = segmented
    path = workdir.trial(NAMES[0]).predictions_path
    with np.load(path) as file:
        confusions = file["confusions"]
    with path.open("wb") as file:
        np.savez(file, **{name: damage(confusions)})
    found, (remark,) = read(workdir)
    assert found == {}
    assert remark.startswith(f"{path} is damaged (")


def test_a_table_of_another_score_has_no_shares(segmented, tmp_path):
    workdir, _ = segmented
    (found, _), table = read(workdir), Workdir(tmp_path / "table")
    table.path.mkdir()
    results.write(table, [row | {"miou": row["miou"] + 1e-4} for row in results.results(workdir.path)])
    predictions.write_all(table, found)
    assert read(table)[0] == {}


def test_in_a_table_each_trial_is_judged_by_itself(workdir, bits, tmp_path):
    table = Workdir(tmp_path / "table")
    table.path.mkdir()
    first, second = results.results(workdir.path)
    results.write(table, [first | {"top1": 0.7}, second])
    predictions.write_all(table, bits)
    found, (remark,) = read(table)
    assert list(found) == [NAMES[1]]
    assert remark.endswith(f"is damaged (it contradicts the result of {NAMES[0]}): done without")


def test_one_image_has_no_shares(segmented):
    """Nothing can be drawn from it: an interval would have no width."""
    workdir, _ = segmented
    rows = [row | {"test_images": 1} for row in results.results(workdir.path)]
    assert predictions.of_workdirs([workdir.path], rows) == ({}, [])
