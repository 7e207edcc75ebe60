"""The page as one file of HTML: the markup, the look, Vega, our scripts and the data, and nothing from elsewhere."""

import base64
import hashlib
import html
import importlib.resources
import json
from typing import Any

from mnet_jax.report.page import charts
from mnet_jax.workdir.files import Workdir
from mnet_jax.workdir.whole import write_text

NAME = "report.html"

_FILES = importlib.resources.files(__package__)
_SCRIPTS = ("words.js", "charts.js", "tables.js", "details.js", "page.js")  # in the order in which they need each other


def write(workdir: Workdir, shown: dict[str, Any]) -> str:
    """Writes `report.html` and returns its path.

    Args:
      workdir: where.
      shown: what `contents` returns.
    """
    path = workdir.path / NAME
    write_text(path, document(shown))
    return str(path)


def document(shown: dict[str, Any], tag: str | None = None) -> str:
    """The page; one with a tag of what it shows is live: it asks for newer data, from where it came.

    What comes from a workdir is data to the scripts. Should a word of it be taken for a script all the same, the
    browser would not run it: it runs the two whose digests stand in the page's policy, and asks no other host.
    """
    libraries, own = (_safe(text) for text in (charts.libraries(), "\n".join(map(_read, _SCRIPTS))))
    asked = "'self'" if tag else "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src {asked}"
    parts = {
        "POLICY": html.escape(f"{policy}; script-src {_digest(libraries)} {_digest(own)}"),
        "TITLE": html.escape(shown["title"]),
        "STYLE": _read("page.css"),
        "DATA": as_json(shown | {"tag": tag}),
        "CHARTS": as_json(charts.specifications()),
        "LIBRARIES": libraries,
        "SCRIPT": own,
    }
    first, *rest = _read("page.html").split("<!--")
    found = [first]
    for part in rest:
        name, _, after = part.partition("-->")
        found += [parts[name.strip()], after]
    return "".join(found)


def as_json(value: Any) -> str:
    """JSON that ends no element of HTML, whatever it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _read(name: str) -> str:
    return _FILES.joinpath(name).read_text(encoding="utf-8")


def _safe(script: str) -> str:
    """A script that ends no element of HTML."""
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--").replace("\r\n", "\n")


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
