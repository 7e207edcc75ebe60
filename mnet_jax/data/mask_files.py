"""Which image of a folder has which mask, and is in which split: by lists of names, or by folders."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping

from mnet_jax.data import class_file, class_folders, image_file, split_folders
from mnet_jax.data.class_folders import LeftOut
from mnet_jax.data.image_file import ImageFile
from mnet_jax.errors import UserError, nearest

_Paths = Mapping[str, list[str]]  # of files by NAME, relative to the data set's folder


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a data set has what.

    Attributes:
      images, masks: folders.
      lists: the file of names of each split; None where there may be some, or folders, or neither.
    """

    images: str
    masks: str
    lists: Mapping[str, str] | None = None


LAYOUTS = {
    "mask_folder": Layout("images", "masks"),
    "voc": Layout(
        "JPEGImages",
        "SegmentationClass",
        {"train": "ImageSets/Segmentation/train.txt", "test": "ImageSets/Segmentation/val.txt"},
    ),
}


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image, and the path of its mask relative to the data set's folder."""

    image: ImageFile
    mask: str


def stamp(name: str, folder: pathlib.Path) -> tuple:
    """When the folders and the lists last changed."""
    layout = LAYOUTS[name]
    tops = [top for top in (folder / layout.images, folder / layout.masks) if top.is_dir()]
    inner = [place for top in tops for place in split_folders.places(name, top).values()]
    return tuple(path.stat().st_mtime_ns for path in (*tops, *inner, *_lists(name, folder).values()))


def pairs(name: str, folder: pathlib.Path, left_out: LeftOut) -> dict[str, list[Pair]]:
    """The pairs of each split that there is, "train" among them.

    Args:
      name: of the data set, one of `LAYOUTS`.
      folder: its folder.
      left_out: counts what is no part of it.

    Raises:
      UserError: a folder, a list, an image or a mask is missing; a list is empty, or names what another one does; or it
        is not clear what is what.
    """
    layout = LAYOUTS[name]
    for top in (layout.images, layout.masks):
        if not (folder / top).is_dir():
            raise UserError(
                f"data set {name}: {folder} has no folder {top} (an image is {layout.images}/NAME.*, its mask "
                f"{layout.masks}/NAME.png)"
            )
    lists, places = _lists(name, folder), {}
    if layout.lists is None:
        places = split_folders.places(name, folder / layout.images)
        _check_splits(name, lists, places)
    images, masks = (_by_name(folder, top, left_out) for top in (layout.images, layout.masks))
    if lists:
        names = {split: list(_names_in(path)) for split, path in lists.items()}
        _check_apart(names)
        images = _looked_at(folder, {name: images[name] for of in names.values() for name, _ in of if name in images})
    else:
        images = _without_others(_looked_at(folder, images), left_out)
        if alone := sorted(masks.keys() - images.keys()):
            raise UserError(f"{folder / masks[alone[0]][0]}: there is no image {layout.images}/{alone[0]}.* to it")
        names = _in_places(folder / layout.images, places, images, left_out)
    found = {}
    for split, of_split in names.items():
        found[split] = []
        for stem, where in of_split:
            for top, there in ((layout.images, images), (layout.masks, masks)):
                if stem not in there:
                    raise UserError(f"{where}: {folder / top} has no {stem!r}{nearest(stem, there)}")
            image = images[stem]
            if isinstance(image, str):
                raise UserError(f"{where}: {stem!r} is no image that is read ({', '.join(image_file.FORMATS)})")
            found[split].append(Pair(image, _only(folder, masks[stem])))
    return found


def _lists(name: str, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The lists of names that there are, or that must be there."""
    layout = LAYOUTS[name]
    if layout.lists is None:
        return split_folders.places(name, folder, ".txt")
    lists = {split: folder / file for split, file in layout.lists.items()}
    for path in lists.values():
        if not path.is_file():
            raise UserError(f"data set {name}: {path} is missing, which lists images")
    return lists


def _check_splits(name: str, lists: Mapping[str, pathlib.Path], places: Mapping[str, pathlib.Path]) -> None:
    if lists and places:
        one, other = next(iter(lists.values())), next(iter(places.values()))
        raise UserError(f"data set {name}: {one} and {other}: are the splits lists or folders?")
    if (lists or places) and "train" not in (lists or places):
        there = next(iter((lists or places).values()))
        raise UserError(f"data set {name}: {there} has no train{there.suffix} beside it")


def _by_name(folder: pathlib.Path, top: str, left_out: LeftOut) -> dict[str, list[str]]:
    """Paths of files by NAME: what stands behind `top`, without the ending."""
    found: dict[str, list[str]] = {}
    for path in class_folders.files(folder / top, left_out):
        found.setdefault(os.path.splitext(path)[0], []).append(os.path.join(top, path))
    return found


def _names_in(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """The names in a list, each with the place where it stands."""
    for line, name in enumerate(class_file.names_in(path, "image"), 1):
        yield name.strip(), f"{path}, line {line}"


def _check_apart(names: Mapping[str, list[tuple[str, str]]]) -> None:
    first: dict[str, str] = {}
    for of_split in names.values():
        for name, where in of_split:
            if name in first:
                raise UserError(f"{where}: {name!r} stands in {first[name]}, too")
            first[name] = where


def _looked_at(folder: pathlib.Path, images: _Paths) -> dict[str, ImageFile | str]:
    """Images by NAME, or which kind of file there is instead."""
    listed = [(_only(folder, paths), 0) for paths in images.values()]
    return dict(zip(images, image_file.look_at_all(folder, listed), strict=True))


def _without_others(images: Mapping[str, ImageFile | str], left_out: LeftOut) -> dict[str, ImageFile]:
    """Files that are no images, taken out."""
    left_out.update(kind for kind in images.values() if isinstance(kind, str))
    return {name: image for name, image in images.items() if isinstance(image, ImageFile)}


def _in_places(
    top: pathlib.Path, places: Mapping[str, pathlib.Path], images: Mapping[str, ImageFile], left_out: LeftOut
) -> dict[str, list[tuple[str, str]]]:
    """The names of the images in the folder of each split, or all; each with its file."""
    folders = {split: f"{place.name}{os.sep}" for split, place in places.items()} or {"train": ""}
    found = {
        split: [(name, str(top.parent / image.path)) for name, image in images.items() if name.startswith(folder)]
        for split, folder in folders.items()
    }
    if empty := [split for split, names in found.items() if not names]:
        raise UserError(f"{top / folders[empty[0]]}: no images there")
    left_out[class_folders.OUTSIDE_SPLITS] += len(images) - sum(map(len, found.values()))
    return found


def _only(folder: pathlib.Path, paths: list[str]) -> str:
    if len(paths) > 1:
        raise UserError(f"{folder / paths[0]} and {folder / paths[1]}: which one is it? names differ in their endings")
    return paths[0]
