"""A prepared copy is taken only for what it was made from."""

import shutil

import pytest

from mnet_jax.config.own import load_object
from mnet_jax.data import cache, checks, provenance, registry, sources
from mnet_jax.data.facts import look_again
from mnet_jax.errors import UserError
from tests.data.small_sets import BUILDER, held


def imagenet(own, tmp_path, folder):
    return own(
        "imagenet",
        source_dir=str(tmp_path / folder),
        validation_split="validation",
        test_split="validation",
        channels=3,
    )


@pytest.mark.parametrize("change", ["another class", "another image"])
def test_other_files_than_a_copy_was_made_from_are_refused(tmp_path, fill, own, change):
    for folder in ("a", "b"):
        for split in ("train", "val"):
            for name in ("cat", "dog" if folder == "a" or change == "another image" else "ship"):
                fill(tmp_path / folder / split / name, 3 if folder == "b" and split == "val" else 2)
    checks.check(imagenet(own, tmp_path, "a"))
    with pytest.raises(UserError, match=r"prepared from other files than are in config\.data\.source_dir='.*b' now"):
        checks.check(imagenet(own, tmp_path, "b"))
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    look_again()
    checks.check(imagenet(own, tmp_path, "moved"))
    shutil.rmtree(tmp_path / "a")
    look_again()
    checks.check(imagenet(own, tmp_path, "a"))
    shutil.rmtree(tmp_path / "prepared")
    checks.check(imagenet(own, tmp_path, "b"))


@pytest.mark.parametrize("place", [".", "tfds"])
def test_copies_among_the_raw_files_do_not_count(tmp_path, fill, own, place):
    for split in ("train", "val"):
        fill(tmp_path / "a" / split / "cat", 2)
    data = imagenet(own, tmp_path, "a")
    data.data_dir = str(tmp_path / "a" / place)
    checks.check(data)
    sources.prepare(own("mnist5k", image_size=28, channels=1, data_dir=data.data_dir))
    look_again()
    checks.check(data)


def test_links_in_a_circle_are_followed_once_and_trials_share_a_listing(tmp_path, fill, own, monkeypatch):
    for split in ("train", "val"):
        for name in "ab":
            fill(tmp_path / "a" / split / name, 2)
            (tmp_path / "a" / split / name / "up").symlink_to(tmp_path / "a")
            (tmp_path / "a" / split / name / "same").symlink_to(tmp_path / "a" / split / name)
    provenance.forget()
    listed = []
    scandir = provenance.os.scandir
    monkeypatch.setattr(provenance.os, "scandir", lambda path: listed.append(path) or scandir(path))
    copies = [tmp_path / "prepared" / "x" / "1.0.0"] * 16
    found = {provenance._made_from(copy, sources.SOURCES["imagenet"], str(tmp_path / "a"))["files"] for copy in copies}
    assert len(found) == 1
    assert len(listed) <= 7  # the folder that `up` leads to, two splits, four classes


def test_a_damaged_record_is_named(tmp_path, fill, own):
    for split in ("train", "val"):
        fill(tmp_path / "a" / split / "cat", 2)
    data = imagenet(own, tmp_path, "a")
    checks.check(data)
    (record,) = (tmp_path / "prepared").rglob("made_from.json")
    record.write_text("")
    with pytest.raises(UserError, match=r"imagenet_folder/.* is damaged \(made_from\.json: .*\): delete it"):
        checks.check(data)


def builder_of(own, tmp_path, folder, gray, **fields):
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "flowers.py").write_text(BUILDER.format(gray=gray, version="1.0.0"))
    name = f"{folder}/flowers.py:Flowers"
    registry.register_builder(name, load_object(name, tmp_path))
    return own(name, image_size=8, channels=1, validation_split="", **fields)


def test_the_cache_of_a_copy_that_was_made_anew_is_another(tmp_path, own):
    fields = {"crop": "inception", "cache_side": 8}
    first = builder_of(own, tmp_path, "a", 10, **fields)
    cache.check(first, ("train_split", "test_split"))
    before = cache.folder(first)
    shutil.rmtree(tmp_path / "prepared" / "flowers" / "1.0.0")
    second = builder_of(own, tmp_path, "b", 20, **fields)
    cache.check(second, ("train_split", "test_split"))
    assert cache.folder(second) != before


def test_a_class_with_the_name_of_a_built_in_builder_is_not_taken_for_it(tmp_path, own):
    sources.prepare(own("mnist5k", image_size=28, channels=1))
    (tmp_path / "mine.py").write_text(BUILDER.format(gray=1, version="1.0.0").replace("Flowers", "Mnist5k"))
    registry.register_builder("mine.py:Mnist5k", load_object("mine.py:Mnist5k", tmp_path))
    data = own("mine.py:Mnist5k", crop="none", image_size=8, channels=1, validation_split="")
    with pytest.raises(UserError, match=r"mnist5k/1\.0\.0 was prepared by another class"):
        checks.check(data)
    assert len(held(own("mnist5k", channels=1), "test")) == 1000


def test_a_copy_that_another_class_of_that_name_and_version_made_is_not_taken(own, tmp_path):
    def data_of(folder, gray, version="1.0.0"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "flowers.py").write_text(BUILDER.format(gray=gray, version=version))
        name = f"{folder}/flowers.py:Flowers"
        registry.register_builder(name, load_object(name, tmp_path))
        return own(name, crop="none", image_size=8, channels=1, validation_split="")

    first = data_of("a", 10)
    assert set(held(first, "test")) == {bytes([10] * 64)}
    assert set(held(data_of("same", 10), "test")) == {bytes([10] * 64)}
    with pytest.raises(UserError, match=r"flowers/1\.0\.0 was prepared by another class .*give Flowers\.VERSION"):
        checks.check(data_of("b", 20))
    assert set(held(data_of("c", 20, "1.0.1"), "test")) == {bytes([20] * 64)}
