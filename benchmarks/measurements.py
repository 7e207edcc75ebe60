"""Where a benchmark writes what it measures."""

import argparse
import json
import pathlib


def add_argument(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument("--json", type=_file, default=default, help="where to write every measurement")


def save(report: dict, path: pathlib.Path | None) -> None:
    """Writes all that is measured so far; nothing if no file was asked for."""
    if path:
        path.write_text(json.dumps(report, indent=1) + "\n")


def _file(text: str) -> pathlib.Path:
    path = pathlib.Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path
