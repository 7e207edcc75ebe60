"""A file that names the classes in the order of their labels."""

import os
import shutil

import numpy as np
import pytest

from mnet_jax.data import cache, checks, class_file, image_folder, sources, stream
from mnet_jax.data.facts import facts
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.errors import UserError

SORTED = ("9", "10", "bee", "owl")
OTHER = ("owl", "10", "bee", "9")


@pytest.fixture
def read(tmp_path, own):
    def read(content, name="image_folder", **fields):
        (tmp_path / "c.txt").write_bytes(content)
        return class_file.read(own(name, classes="c.txt", **fields), tmp_path)

    return read


@pytest.mark.parametrize(
    "content",
    [b"b\na", b"b\na\n", b"b\na\n\n \n", b"\xef\xbb\xbfb\na\n", b"b\r\na\r\n", b"\xef\xbb\xbfb\r\na\r\n\r\n"],
    ids=["no newline", "newline", "blank lines", "mark", "crlf", "all of Windows"],
)
def test_a_line_is_a_name_whatever_wrote_the_file(read, content):
    assert read(content) == ("b", "a")


def test_names_may_have_blanks_and_any_letters(read):
    assert read("snow goose\nÄsche\n#1\n".encode()) == ("snow goose", "Äsche", "#1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "c.txt, line 1: it names no class"),
        (b"\n\r\n", "c.txt, line 1: it names no class"),
        (b"a\nb\na\n", "c.txt, line 3: 'a' stands on line 1, too"),
        (b"a\n\nb\n", "c.txt, line 2: blank, and names follow"),
        (b"a\nb\nK\xe4fer\n", "c.txt, line 3: no UTF-8"),
        ("a\nb".encode("utf-16"), "c.txt, line 1: no UTF-8"),
    ],
)
def test_what_is_no_list_of_names_is_refused_with_its_line(read, content, message):
    with pytest.raises(UserError) as error:
        read(content)
    assert str(error.value).startswith("config.data.classes='c.txt': ")
    assert str(error.value).endswith(message)


def test_a_file_that_cannot_be_read_is_named(tmp_path, own):
    (tmp_path / "folder").mkdir()
    for name, reason in (("absent.txt", "No such file or directory"), ("folder", "Is a directory")):
        with pytest.raises(UserError) as error:
            class_file.read(own("image_folder", classes=name), tmp_path)
        assert str(error.value) == f"config.data.classes={name!r}: cannot read {tmp_path / name}: {reason}"


def test_a_path_starts_at_the_config_file_at_home_or_at_the_root(tmp_path, own, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in ("home", "configs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "c.txt").write_text(folder)
    for name, found in (("c.txt", "configs"), ("~/c.txt", "home"), (str(tmp_path / "home" / "c.txt"), "home")):
        assert class_file.read(own("image_folder", classes=name), tmp_path / "configs") == (found,)


@pytest.mark.parametrize(
    ("name", "fields"),
    [("mnist5k", {}), ("cifar10", {}), ("arrays", {}), ("x.py:X", {}), ("imagenet", {"tfds_name": "imagenet2012"})],
)
def test_a_data_set_without_class_folders_is_refused(read, name, fields):
    known = fields.get("tfds_name", name)
    with pytest.raises(UserError, match=f"classes='c.txt' has no effect: data set {known} has no class folders"):
        read(b"a\nb\n", name, **fields)


@pytest.fixture
def raw(tmp_path, fill):
    for split in ("train", "val", "test"):
        for name in SORTED:
            fill(tmp_path / "raw" / split / name, 4)
    return tmp_path / "raw"


@pytest.fixture
def ordered(own, raw):
    """`config.data` as it is resolved for an order of the classes; None for no file."""

    def make(name, names, **fields):
        given = {"classes": "c.txt", "class_names": names} if names else {}
        data = own(name, source_dir=str(raw), **given, **fields)
        found = facts(data)
        data.update(fingerprint=found.fingerprint, class_names=found.class_names)
        return data

    return make


SETS = ("image_folder", "imagenet", "imagenet_validation")
SPLIT = "validation"


def classes_of(data):
    """The label of every image of a split by the name of its class, as batches have them, found by the pixels."""
    fields = ("validation_split",)
    cache.check(data, fields)
    source = cache.open_split(data, SPLIT)
    examples = [source[i] for i in range(len(source))]
    opened = stream.HostStream(source, data, len(SORTED), make_mesh())
    (batch,) = opened.evaluation_batches(len(source))
    found = {}
    for example, label in zip(examples, np.asarray(batch["label"]), strict=True):
        name = os.fsdecode(example["file_name"]).split("/")[-2]
        assert found.setdefault(name, int(label)) == label == example["label"]
    return found


@pytest.mark.parametrize("side", [None, 8])
@pytest.mark.parametrize("name", SETS)
def test_labels_are_those_of_the_file_whatever_was_prepared_before(ordered, name, side):
    reordered = ("bee", "9", "owl", "10")
    for names in (None, OTHER, reordered, SORTED, OTHER):
        data = ordered(name, names, cache_side=side)
        assert facts(data).class_names == (names or SORTED)
        assert facts(data).num_classes == 4
        assert classes_of(data) == {word: label for label, word in enumerate(names or SORTED)}


@pytest.mark.parametrize("name", SETS)
def test_an_order_that_is_the_sorted_one_is_the_same_data(ordered, name):
    default, same, other = (ordered(name, names) for names in (None, SORTED, OTHER))
    assert facts(same) == facts(default)
    assert facts(other).fingerprint not in (None, facts(default).fingerprint)
    places = [sources.prepare(data).data_dir for data in (default, same, other)]
    assert places[0] == places[1] != places[2]


@pytest.mark.parametrize("name", SETS)
def test_a_copy_is_read_without_the_raw_images_in_the_order_it_was_made_in(ordered, raw, name):
    data = ordered(name, OTHER)
    sources.prepare(data)
    shutil.rmtree(raw)
    image_folder.forget()
    assert facts(data).class_names == OTHER
    assert classes_of(data) == {word: label for label, word in enumerate(OTHER)}
    assert "4 classes (owl, 10, bee, 9)" in checks.summary(data)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("owl", "10", "bees", "9"), r"classes='c.txt', line 3: \S+ has no folder 'bees': did you mean bee\?"),
        ((*OTHER, "zebra"), r"classes='c.txt', line 5: {place} has no folder 'zebra'$"),
        (("owl", "bee"), r"classes='c.txt' does not name classes '9', '10' of {place}: each folder needs a line"),
    ],
)
@pytest.mark.parametrize("name", SETS)
def test_a_file_and_a_folder_that_differ_are_refused_by_name(ordered, tmp_path, name, names, message):
    place = tmp_path / "raw" / ("val" if name == "imagenet_validation" else "train")
    with pytest.raises(UserError, match=message.format(place=place)):
        ordered(name, names)
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize("name", SETS[:2])
def test_a_class_that_comes_before_the_copy_is_made_shifts_no_label(ordered, raw, fill, tmp_path, name):
    data = ordered(name, OTHER)
    for split in ("train", "val", "test"):
        fill(raw / split / "ant", 2)
    with pytest.raises(UserError, match=r"does not name class 'ant'|are not those that config\.data\.classes named"):
        sources.prepare(data)
    assert not list((tmp_path / "prepared").rglob("*.array_record*"))


def test_one_folder_of_classes_is_ordered_too(tmp_path, fill, own):
    for name in ("a", "b"):
        fill(tmp_path / "set" / name, 10)
    data = own("image_folder", source_dir=str(tmp_path / "set"), classes="c.txt", class_names=("b", "a"))
    assert facts(data).class_names == ("b", "a")
    splits = {}
    for split in ("train", "validation", "test"):
        source = sources.open_split(data, split)
        splits[split] = {(os.fsdecode(source[i]["file_name"]), source[i]["label"]) for i in range(len(source))}
    assert {(name[0], label) for members in splits.values() for name, label in members} == {("a", 1), ("b", 0)}
    data.update(classes=None, class_names=None)
    for split, members in splits.items():
        source = sources.open_split(data, split)
        assert {os.fsdecode(source[i]["file_name"]) for i in range(len(source))} == {name for name, _ in members}, split
