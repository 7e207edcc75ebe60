import os

import pytest

from mnet_jax.data import class_folders
from mnet_jax.errors import UserError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_names_of_digits_sort_as_numbers_before_the_others(tmp_path):
    for name in ("10", "9", "b", "0", "007", "a", "11a"):
        (tmp_path / name).mkdir()
    assert class_folders.names(tmp_path) == ("0", "007", "9", "10", "11a", "a", "b")


def test_what_is_no_class_is_counted(tmp_path):
    touch(tmp_path, "a/1.jpg", ".ipynb_checkpoints/1.jpg", ".DS_Store", "README.txt")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "here").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to("gone")
    left_out = class_folders.LeftOut()
    assert class_folders.names(tmp_path, left_out) == ("a",)
    assert class_folders.text(left_out) == (
        "1 hidden file, 1 hidden folder, 1 file outside the class folders, 2 circular or repeated links, 1 broken link"
    )


def test_a_class_may_be_a_link_to_a_folder_elsewhere(tmp_path):
    touch(tmp_path / "elsewhere", "1.jpg", "inner/2.jpg")
    touch(tmp_path / "set" / "b", "3.jpg")
    (tmp_path / "set" / "a").symlink_to(tmp_path / "elsewhere")
    assert class_folders.names(tmp_path / "set") == ("a", "b")
    (tmp_path / "elsewhere" / "inner" / "back").symlink_to(tmp_path / "set")
    left_out = class_folders.LeftOut()
    assert class_folders.files(tmp_path / "set" / "a", left_out) == ["1.jpg", "inner/2.jpg"]
    assert class_folders.text(left_out) == "1 circular or repeated link"


def test_files_of_a_class_are_found_in_the_folders_inside_it_and_each_folder_is_read_once(tmp_path):
    folder = touch(tmp_path / "a", "2.jpg", "10.jpg", "z/deep/1.jpg", ".DS_Store", "z/._2.jpg", "z/.git/config")
    os.mkfifo(folder / "pipe")
    (folder / "linked.jpg").symlink_to(folder / "2.jpg")
    (folder / "again").symlink_to("z")
    (folder / "z" / "up").symlink_to(tmp_path)
    (folder / "z" / "self").symlink_to("self")
    left_out = class_folders.LeftOut()
    assert class_folders.files(folder, left_out) == ["10.jpg", "2.jpg", "linked.jpg", "z/deep/1.jpg"]
    assert class_folders.text(left_out) == (
        "2 hidden files, 1 hidden folder, 1 file that is no image, 2 circular or repeated links, 1 broken link"
    )


def test_a_class_that_only_one_split_has_is_named_with_the_folder_that_lacks_it(tmp_path):
    for name in ("train/a", "train/b", "val/a", "val/b", "val/c"):
        (tmp_path / name).mkdir(parents=True)
    folders = [tmp_path / "train", tmp_path / "val"]
    with pytest.raises(UserError, match=r"/train lacks class 'c' of \S+/val"):
        class_folders.common_names(folders)
    (tmp_path / "val" / "c").rmdir()
    assert class_folders.common_names(folders) == ("a", "b")
    for i in range(12):
        (tmp_path / "train" / f"{i}").mkdir()
    with pytest.raises(UserError, match=r"/val lacks classes '0', '1', '2', '3', '4' and 7 more of \S+/train"):
        class_folders.common_names(folders)


def test_a_class_whose_name_is_no_utf8_is_refused(tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    with pytest.raises(UserError, match=r"b'caf\\xe9' is no UTF-8"):
        class_folders.names(tmp_path)
