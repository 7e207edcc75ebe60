"""When a folder of images is the same as before: its fingerprint, and the prepared copies that are named by it."""

import os
import shutil

import pytest
from PIL import Image

from mnet_jax.data import image_file, image_folder, sources
from mnet_jax.data.facts import facts
from mnet_jax.errors import UserError


def fingerprint_after(data, change):
    """Of what a process that starts now finds."""
    change()
    image_folder._read.cache_clear()
    return facts(data).fingerprint


def test_the_fingerprint_is_of_the_images_and_of_what_cuts_them(tmp_path, fill, own):
    folder = fill(tmp_path / "set" / "a", 10)
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    seen = [facts(data).fingerprint]
    shutil.copytree(tmp_path / "set", tmp_path / "moved")
    assert facts(own("image_folder", source_dir=str(tmp_path / "moved"))).fingerprint == seen[0]
    assert fingerprint_after(data, (folder / ".DS_Store").touch) == seen[0]
    for change in (
        lambda: data.update(split_seed=1),
        lambda: data.update(test_fraction=0.2),
        lambda: data.update(validation_fraction=0.2),
        lambda: (folder / "0.jpg").rename(folder / "renamed.jpg"),
        lambda: (folder / "1.jpg").unlink(),
        lambda: (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes()[:-1] + b"x"),
        lambda: (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes() + b"\0"),
    ):
        seen.append(fingerprint_after(data, change))
    assert len(set(seen)) == len(seen)


def test_the_fingerprint_reads_both_ends_and_the_length_of_a_large_file(tmp_path, fill, own):
    folder = fill(tmp_path / "set" / "a", 2, (120, 120, 3))
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    path = folder / "0.jpg"
    encoded = path.read_bytes()
    assert len(encoded) > 10_000
    seen = [facts(data).fingerprint]
    for changed in (
        encoded[:100] + b"x" + encoded[101:],
        encoded[:-1] + b"x",
        encoded[:5000] + b"x" + encoded[5000:],
    ):
        seen.append(fingerprint_after(data, lambda changed=changed: path.write_bytes(changed)))
    assert len(set(seen)) == 4


def test_fractions_say_nothing_where_nothing_is_cut(tmp_path, fill, own):
    for split in ("train", "val", "test"):
        fill(tmp_path / "set" / split / "a", 2)
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    first = facts(data)
    data.update(split_seed=5, validation_fraction=0.3, test_fraction=0.0)
    assert facts(data) == first


def test_a_changed_folder_is_prepared_anew_and_a_sweep_that_has_begun_goes_on_with_its_copy(tmp_path, fill, own):
    folder = fill(tmp_path / "set" / "a", 10)
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    begun = own("image_folder", source_dir=str(tmp_path / "set"), fingerprint=facts(data).fingerprint)
    assert len(sources.open_split(begun, "train")) == 8
    fill(folder, 20, seed=1)
    assert len(sources.open_split(data, "train")) == 16
    assert len(sources.open_split(begun, "train")) == 8
    assert facts(begun).fingerprint == begun.fingerprint != facts(data).fingerprint
    shutil.rmtree(tmp_path / "set")
    assert len(sources.open_split(begun, "train")) == 8, "the copy is enough"
    assert facts(begun).class_names == ("a",)
    shutil.rmtree(tmp_path / "prepared")
    fill(folder, 3)
    with pytest.raises(UserError, match=r"images have changed since the sweep started .*" + begun.fingerprint):
        sources.prepare(begun)


def test_a_change_without_a_trace_in_the_folders_is_seen_when_the_copy_is_made(tmp_path, fill, own):
    folder = fill(tmp_path / "set" / "a", 10)
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    data.fingerprint = facts(data).fingerprint
    stamp = folder.stat().st_mtime_ns
    Image.new("RGB", (9, 9)).save(folder / "0.jpg")
    os.utime(folder, ns=(stamp, stamp))
    with pytest.raises(UserError, match="images have changed"):
        sources.prepare(data)


def test_a_folder_is_read_once_for_all_trials(tmp_path, fill, own, monkeypatch):
    fill(tmp_path / "set" / "a", 10)
    looked_at = []
    look = image_file.look
    monkeypatch.setattr(image_file, "look", lambda *args: looked_at.append(args[1]) or look(*args))
    for _ in range(20):
        facts(own("image_folder", source_dir=str(tmp_path / "set")))
    assert len(looked_at) == 10


def test_a_damaged_copy_is_named(tmp_path, fill, own):
    fill(tmp_path / "set" / "a", 10)
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    data.fingerprint = facts(data).fingerprint
    copy = sources.prepare(data).data_dir
    (tmp_path / copy / "metadata.json").write_text("{")
    with pytest.raises(UserError, match=rf"{copy} is damaged .*delete it"):
        facts(data)
    (tmp_path / copy / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=rf"{copy} is damaged .*delete it"):
        sources.prepare(data)
