"""One bad input: what lies in a folder, and the command that is given there."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

Content = str | bytes | Callable[[pathlib.Path], None]  # of a file; or what makes something else at its path


@dataclasses.dataclass(frozen=True)
class Case:
    """A mistake that a command refuses.

    Attributes:
      what: is wrong.
      command: such as "sweep --config config.py", behind `python -m mnet_jax.`; or, for the Python API, statements that
        begin with `>>> `.
      files: that lie in the folder, by relative path.
      reads: it has to read data, or to wait for others, and so may take longer than the rest.
    """

    what: str
    command: str
    files: Mapping[str, Content] = dataclasses.field(default_factory=dict)
    reads: bool = False

    def lay_out(self, folder: pathlib.Path) -> None:
        """Makes the files."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)


def config(*lines: str, preset: str = "mnist5k", after: str = "") -> str:
    """A config file: lines of its `get_config`, and what stands behind that."""
    body = "".join(f"    {line}\n" for line in lines)
    return (
        "from mnet_jax import presets\n\n\n"
        f'def get_config(dataset="{preset}"):\n    config = presets.get(dataset)\n{body}    return config\n{after}'
    )
