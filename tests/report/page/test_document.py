"""The page as a file: what is in it, that it is small, and that nothing of a workdir is taken for markup."""

import base64
import html.parser
import json
import re
import shutil
import subprocess
import sys

import pytest

from mnet_jax.report import __main__ as report
from mnet_jax.report import published
from mnet_jax.report.page import document, folders, look
from mnet_jax.report.page.contents import contents
from mnet_jax.report.page.folders import Folders, thinned
from mnet_jax.report.styles import COLORS, MARKERS
from mnet_jax.workdir import results
from tests.conftest import REPOSITORY
from tests.report.page.simulated import ERROR, simulate, with_columns


class Parsed(html.parser.HTMLParser):
    """The elements of a page, with the text in its scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.scripts and self.elements[-1][0] == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def page(shown):
    return document.document(shown)


def test_the_page_asks_for_nothing_from_elsewhere(page):
    elements = Parsed(page).elements
    links = [value for _, attributes in elements for name, value in attributes.items() if name in ("src", "href")]
    assert links == ["data:,"]
    (policy,) = (own["content"] for _, own in elements if own.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "connect-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert not re.search(r"@import|url\(", page[: page.index("</style>")])
    ours = "".join(path.read_text() for path in (REPOSITORY / "mnet_jax/report/page").glob("*.*s"))
    assert set(re.findall(r"https?://[^\"'\s]+", ours)) == {"http://www.w3.org/2000/svg"}, "the name of SVG alone"


def test_words_of_a_workdir_are_no_markup(page, shown):
    parsed = Parsed(page)
    assert [tag for tag, _ in parsed.elements].count("script") == 4
    assert "onerror=alert(1)>" not in page
    assert json.loads(parsed.scripts[0]) == json.loads(json.dumps(shown | {"tag": None}))
    assert [one["error"] for one in shown["failures"]["found"]].count(ERROR) == 3
    evil = document.document(shown | {"title": '</title><script>alert("1")</script>'})
    assert len(Parsed(evil).scripts) == 4


def test_the_page_of_a_hundred_trials_is_small(tmp_path, shown_of):
    path = simulate(tmp_path / "sweep", (1.0, 0.75, 0.5, 0.35, 0.25), (28, 24, 20, 16), (0, 1, 2, 3, 4), rows=1000)
    shown = shown_of(path, with_law=False)
    assert len(shown["trials"]["rows"]) == 100
    assert len(document.document(shown).encode()) < 3e6
    curve = shown["curves"][0]
    assert (len(curve["loss"]), curve["of"]) == (200, 1000)
    assert (curve["epoch"][0], curve["epoch"][-1]) == (0.008, 8.0)


def test_every_trial_has_its_row_whatever_became_of_it(shown):
    assert shown["counts"] == {"done": 18, "diverged": 1, "failed": 3, "running": 1, "queued": 1}
    assert len(shown["trials"]["rows"]) == 24
    statuses = [row[1] for row in shown["trials"]["rows"]]
    assert statuses[18:22] == ["diverged, 33%", "failed", "running, 33%", "queued"]
    assert [len(one["log"].splitlines()) for one in shown["failures"]["found"]] == [20, 0, 20, 20]
    assert "is damaged" in shown["failures"]["found"][1]["error"]
    assert [curve is None for curve in shown["curves"]] == [i in (19, 21) for i in range(24)]


def test_cells_are_means_with_their_errors_and_looks(shown):
    cells = shown["tradeoff"]["cells"]
    assert len(cells) == 9
    assert [cell["said"] for cell in cells[:2]] == ["alpha 1, input size 28", "alpha 1, input size 24"]
    assert cells[0]["trials"] == [0, 1]
    mean, error, source = cells[0]["y"]["top1"]
    rows = shown["trials"]["rows"][:2]
    top1 = [column["key"] for column in shown["trials"]["columns"]].index("top1")
    assert mean == pytest.approx(sum(row[top1] for row in rows) / 2)
    assert error > 0
    assert source == "seeds"
    assert len({cell["color"] for cell in cells}) == 4, "a colour for each input size"
    assert len({cell["shape"] for cell in cells}) == 3, "a marker for each alpha"
    assert {law["line"] for law in shown["tradeoff"]["laws"]} <= {cell["line"] for cell in cells}
    assert "The law: " in " ".join(shown["tradeoff"]["notes"])
    said = [entry["said"] for entry in shown["tradeoff"]["legend"]]
    assert said == [*(f"input size {size}" for size in (28, 24, 20, 16)), "alpha 1", "alpha 0.75", "alpha 0.5"]


def test_what_was_measured_of_a_network_is_a_cost_and_no_setting(small, shown_of):
    rows = with_columns(
        results.results(small),
        latency_ms_jax=lambda row: row["mult_adds"] / 1e8,
        bytes_int8=lambda row: None,
        top1_int8=lambda row: row["top1"] and row["top1"] - 0.01,
    )
    shown = shown_of(small, rows, with_law=False)
    assert list(shown["costs"]) == ["mult_adds", "params", "latency_ms_jax"]
    cell = shown["tradeoff"]["cells"][0]
    assert list(cell["settings"]) == ["alpha", "input_size"]
    assert cell["x"]["latency_ms_jax"] == pytest.approx(cell["x"]["mult_adds"] / 1e8)
    assert cell["int8"] == pytest.approx(cell["y"]["top1"][0] - 0.01)


def test_equal_networks_and_usual_values_stand_there_once(shown):
    layers = shown["layers"]
    assert len(layers["plans"]) == 1
    assert len(layers["costs"]) == 12
    assert layers["of"][:4] == [0, 0, 1, 1]
    assert layers["costs"][0]["shapes"][0] == "28x28x32"
    configs = shown["configs"]
    assert configs["usual"]["optim.learning_rate"] == "0.05"
    assert configs["own"][0] == {}, "the commonest values, and of equally common ones the first"
    assert configs["own"][9] == {"model.alpha": "0.75", "seed": "1"}


def test_the_first_pictures_of_a_trial_are_in_the_page_as_far_as_they_are_small(with_pictures, shown_of, monkeypatch):
    (first, *_) = with_pictures.glob("trials/*/pictures")
    files = [path.read_bytes() for path in sorted(first.iterdir())]
    found, others = shown_of(with_pictures)["pictures"]
    assert [base64.b64decode(address.removeprefix("data:image/png;base64,")) for address in found] == files[:6]
    assert others == []
    monkeypatch.setattr(folders, "_PICTURE_BYTES", 2 * sum(map(len, files[:2])))
    assert shown_of(with_pictures)["pictures"] == [found[:2], []]


def test_it_is_said_what_trained_the_trials(shown):
    (sweep,) = shown["provenance"]["sweeps"]
    assert (sweep["commit"], sweep["is_dirty"]) == ("0123abcd", True)
    assert sweep["command"] == "python -m mnet_jax.sweep --config configs/grid.py"
    assert sweep["axes"]["model.alpha"] == [1.0, 0.75, 0.5]
    (trained,) = shown["provenance"]["trained"]
    assert (trained["device"], trained["trials"], trained["versions"]["jax"]) == ("1 x CPU (2 cores)", 18, "0.10.2")


def test_a_page_without_a_done_trial_has_its_table(tmp_path, shown_of):
    path = simulate(tmp_path / "sweep", (1.0, 0.5), (28,), (0, 1), broken=4)
    shown = shown_of(path)
    assert shown["tradeoff"]["cells"] == []
    assert len(shown["trials"]["rows"]) == 4
    assert len(Parsed(document.document(shown)).scripts) == 4


@pytest.mark.parametrize("name", ["ablation_fashion_mnist", "v1_v2_fashion_mnist", "fast_vs_textbook"])
def test_a_table_alone_has_a_page(name, shown_of):
    shown = shown_of(REPOSITORY / "experiments" / name, with_law=False)
    assert shown["tradeoff"]["cells"]
    assert not any(shown["curves"])
    keys = [column["key"] for column in shown["trials"]["columns"]]
    assert len(set(keys)) == len(keys)
    document.document(shown)


def test_published_cells_are_not_drawn_beside_themselves():
    rows = published.table("mobilenet_v1")
    shown = contents(rows, [], Folders([]))
    assert len(shown["tradeoff"]["cells"]) == 16
    assert shown["tradeoff"]["papers"] == []
    assert shown["provenance"]["sweeps"] == []
    assert shown["title"]


def test_rows_of_one_name_have_keys_of_their_own():
    rows = [*published.table("mobilenet_v1"), *published.table("mobilenet_v2")]
    keys = contents(rows, [], Folders([]))["trials"]["keys"]
    assert len(set(keys)) == len(rows) > len({row["trial"] for row in rows})


def test_the_command_writes_the_page_beside_the_plots_without_jax(small, tmp_path):
    path = shutil.copytree(small, tmp_path / "copy")
    code = (
        "import sys; from mnet_jax.report import __main__ as report; "
        f"code = report.main(['--workdir', {str(path)!r}, '--html']); "
        "assert not {'jax', 'flax', 'tensorflow', 'absl'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(path / "report.html")
    assert '"unbeaten":true' in (path / "report.html").read_text()


def test_several_workdirs_have_one_page(small, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(report.webbrowser, "open", opened.append)
    other = simulate(tmp_path / "other", (0.35,), (28,))
    arguments = ["--workdir", str(small), "--workdir", str(other), "--output", str(tmp_path / "both")]
    assert report.main([*arguments, "--html", "--open"]) == 0
    assert opened == [(tmp_path / "both" / "report.html").as_uri()]
    (data, *_) = Parsed((tmp_path / "both" / "report.html").read_text()).scripts
    data = json.loads(data)
    assert data["title"] == "sweep + other"
    assert data["curves"][-1] is not None
    assert len(data["provenance"]["sweeps"]) == 2


@pytest.mark.parametrize(("missing", "flags"), [("altair", ["--html"]), ("vl_convert", ["--live", "--open"])])
def test_it_is_said_what_to_install(missing, flags, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    path = shutil.copytree(small, tmp_path / "copy")
    with pytest.raises(SystemExit) as caught:
        report.main(["--workdir", str(path), *flags])
    assert caught.value.code == 2
    said = 'pip install -e ".[html]"'
    assert capsys.readouterr().err.splitlines()[-1] == f"error: the page needs Altair and vl-convert: {said}"
    assert not (path / "law.json").exists(), "before anything is made"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--open"], "--open shows a page: add --html"),
        (["--html", "--port", "80"], "--port has no effect without --live"),
        (["--live", "--html"], "--html has no effect beside --live"),
        (["--live", "--output", "b"], "--output has no effect beside --live"),
        (["--live", "--budget", "1e6"], "--budget has no effect beside --live"),
    ],
)
def test_flags_that_have_no_effect_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit) as caught:
        report.main(["--workdir", "a", *flags])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_curves_keep_their_ends():
    assert thinned(range(5), 5) == [0, 1, 2, 3, 4]
    assert thinned(range(100), 4) == [0, 33, 66, 99]


def test_colours_are_seen_on_a_dark_ground_and_shapes_have_one_area():
    assert look.on_dark("#ffffff") == "#ffffff"
    assert all(look._luminance(look.to_rgb(look.on_dark(ink))) >= 0.2 for ink in (*COLORS, "#440154"))
    assert len({look.shape(marker) for marker in MARKERS}) == len(MARKERS)
    assert look.dash("--") == [6, 3]
    assert look.dash((0, (9, 3))) == [9, 3]


def test_the_files_of_the_page_are_packaged():
    told = (REPOSITORY / "pyproject.toml").read_text()
    suffixes = {path.suffix for path in (REPOSITORY / "mnet_jax/report/page").iterdir() if path.is_file()} - {".py"}
    assert suffixes == {".css", ".html", ".js"}
    assert all(f'"report/page/*{suffix}"' in told for suffix in suffixes)
