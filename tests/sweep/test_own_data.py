"""Data of one's own go the whole road: folder or function, command, worker processes, table, evaluation, `load`."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

import mnet_jax
from tests import foreign_weights
from tests.conftest import REPOSITORY

CLASSES = ("bees", "cats", "owls")


@pytest.fixture
def pictures(tmp_path):
    """3 classes x 20 small pictures of their own colour: turned by EXIF, a PNG named .JPG, hidden files, a folder."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "my pictures"
    for label, name in enumerate(CLASSES):
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / ".DS_Store").write_bytes(b"\0\1")
        for i in range(20):
            pixels = rng.integers(0, 80, (30 + i, 40, 3), np.uint8)
            pixels[..., label] += 170
            exif = Image.Exif()
            exif[0x0112] = 6 if i == 0 else 1
            place = folder / name / ("inner" if i == 1 else "")
            Image.fromarray(pixels).save(place / f"{i}.JPG", "PNG" if i == 2 else "JPEG", quality=95, exif=exif)
    return folder


@pytest.fixture
def run(tmp_path, compilation_cache):
    def run(module, *arguments):
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": compilation_cache,
            "TFDS_DATA_DIR": str(tmp_path / "prepared"),
        }
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)

    return run


SMALL = (
    "--config.data.image_size=24",
    "--config.input_size=16",
    "--config.model.total_stride=4",
    "--config.train.batch_size=8",
    "--config.train.epochs=2",
)


@pytest.mark.slow
def test_a_folder_of_pictures_trains_evaluates_and_reports_with_its_names(pictures, run, tmp_path):
    done = run(
        "mnet_jax.sweep", "--config", REPOSITORY / "configs/width.py:image_folder", "--workdir", "work", *SMALL,
        f"--config.data.source_dir={pictures}", "--config.sweep.model.alpha=(0.25,)", "--config.data.test_fraction=0.3",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 classes (bees, cats, owls), 36 train, 6 validation, 18 test images" in done.stderr
    assert "left out: 3 hidden files" in done.stderr
    (row,) = mnet_jax.results(tmp_path / "work")
    assert (row["status"], row["dataset"], row["test_images"]) == ("done", "image_folder", 18)
    (trial,) = (tmp_path / "work" / "trials").iterdir()
    network = mnet_jax.load(trial)
    assert network.classes == CLASSES
    assert network.config.model.num_classes == 3
    assert network.predict([next((pictures / "owls").glob("*.JPG"))]).shape == (1, 3)
    evaluated = run("mnet_jax.evaluate", "--workdir", "work")
    assert evaluated.returncode == 0, evaluated.stderr
    assert f"{row['top1']:.4f}" in evaluated.stdout
    reported = run("mnet_jax.report", "--workdir", "work")
    assert reported.returncode == 0, reported.stderr
    assert trial.name in reported.stdout


@pytest.mark.slow
def test_labels_are_those_of_a_file_from_the_config_to_the_table(pictures, run, tmp_path):
    """The colour of a class is learnt in a moment: what the network calls it shows which label it was trained with."""
    (tmp_path / "my lists").mkdir()
    (tmp_path / "my lists" / "config.py").write_text(
        textwrap.dedent("""
        from mnet_jax import presets

        def get_config():
            config = presets.get("image_folder")
            config.input_size = 16
            config.data.update(image_size=24, classes="other.txt")
            config.model.update(alpha=0.25, total_stride=4)
            config.train.update(batch_size=8, epochs=16.0)
            config.sweep.data.classes = ("sorted.txt", "other.txt")
            return config
        """)
    )
    orders = {"sorted.txt": CLASSES, "other.txt": ("owls", "bees", "cats")}
    for name, order in orders.items():
        (tmp_path / "my lists" / name).write_text("\n".join(order))
    command = ("mnet_jax.sweep", "--config", "my lists/config.py", "--workdir", "work")
    flags = (f"--config.data.source_dir={pictures}", "--config.data.test_fraction=0.3")
    done = run(*command, *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = mnet_jax.results(tmp_path / "work")
    assert [row["status"] for row in rows] == ["done"] * 2
    assert len({row["data.fingerprint"] for row in rows}) == 2
    assert "data.classes" not in rows[0]
    for row in rows:
        folder = tmp_path / "work" / "trials" / row["trial"]
        order = orders[row["trial"].partition("=")[2].rpartition("-")[0]]
        assert json.loads((folder / "result.json").read_text())["classes"] == list(order)
        network = mnet_jax.load(folder)
        assert network.classes == order
        for label, name in enumerate(order):
            found = network.predict(sorted((pictures / name).glob("*.JPG"))).argmax(-1)
            assert np.bincount(found).argmax() == label, (order, name, found)
        assert row["top1"] > 0.6
    (default,) = {row["trial"].rpartition("-")[2] for row in rows if "sorted" in row["trial"]}
    again = run(*command, *flags, "--config.data.classes=", "--config.sweep.data.classes=()", "--dry_run")
    assert default in again.stdout, "an order that is the sorted one is the trial without a file"
    (tmp_path / "my lists" / "other.txt").write_text("owls\nbees\ncat")
    wrong = run(*command, *flags)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert "classes='other.txt', line 3: " in wrong.stderr
    assert "has no folder 'cat': did you mean cats?" in wrong.stderr


@pytest.mark.slow
def test_registered_arrays_train_in_processes_that_have_not_run_the_file(run, tmp_path):
    (tmp_path / "config.py").write_text(
        textwrap.dedent("""
        import mnet_jax, numpy as np
        from mnet_jax import presets

        def stripes():
            rng = np.random.default_rng(0)
            def split(count):
                labels = rng.integers(0, 2, count)
                images = rng.integers(0, 100, (count, 16, 16), np.uint8)
                images[labels == 1, ::2] += 150
                return images, labels
            return {"train": split(64), "test": split(32)}

        mnet_jax.register_dataset("stripes", stripes)

        def get_config():
            config = presets.get("mnist5k")
            config.data.update(name="stripes", validation_split="")
            config.input_size = 16
            config.model.update(alpha=0.25, total_stride=4)
            config.train.update(batch_size=16, epochs=2.0)
            config.sweep.seed = (0, 1)
            return config
        """)
    )
    done = run("mnet_jax.sweep", "--config", "config.py", "--workdir", "work")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = mnet_jax.results(tmp_path / "work")
    assert [(row["status"], row["test_images"]) for row in rows] == [("done", 32)] * 2
    assert len({row["replicate"] for row in rows}) == 1
    network = mnet_jax.load(next((tmp_path / "work" / "trials").iterdir()))
    assert (network.config.model.num_classes, network.config.data.image_size) == (2, 16)
    wrong = run("mnet_jax.sweep", "--config", "config.py", "--workdir", "other", "--config.model.num_classes=3")
    assert wrong.returncode == 2
    assert "config.model.num_classes=3: in data set stripes it is 2" in wrong.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_fine_tuning_starts_each_alpha_from_its_own_file(pictures, run, tmp_path):
    (tmp_path / "weights").mkdir()
    for text, alpha in (("5_0", 0.5), ("2_5", 0.25)):
        _, variables = foreign_weights.make(num_classes=1000, alpha=alpha)
        foreign_weights.write_keras(tmp_path / "weights" / f"mobilenet_{text}_224_tf.h5", variables)
    flags = (
        f"--config.data.source_dir={pictures}",
        "--config.data.image_size=40",
        "--config.input_size=32",
        *SMALL[-2:],
    )
    command = ("mnet_jax.sweep", "--config", REPOSITORY / "configs/transfer.py", "--workdir", "work", *flags)
    lacking = run(*command)
    assert lacking.returncode == 2
    assert "weights lacks mobilenet_1_0_224_tf.h5, mobilenet_7_5_224_tf.h5; they are at https" in lacking.stderr
    done = run(*command, "--config.options.alphas=(0.5,0.25)")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = mnet_jax.results(tmp_path / "work")
    assert [(row["status"], row["alpha"]) for row in rows] == [("done", 0.5), ("done", 0.25)]
    for trial in (tmp_path / "work" / "trials").iterdir():
        assert "starts from the weights of" in (trial / "log.txt").read_text()
    network = mnet_jax.load(trial)
    assert network.config.model.padding == "keras_v1"
    assert network.config.model.num_classes == 3
