"""What a class is made of: every change is seen, nothing else is, and what is kept computes the same."""

import sys
import textwrap

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from mnet_jax.config import own
from mnet_jax.config.file import load
from mnet_jax.config.resolve import resolve
from mnet_jax.config.source import keep, source_of
from mnet_jax.errors import UserError
from tests.config.small_network import HELPERS, NETWORK, forget


def fingerprint(folder, **changes):
    """Of Net, after changes of the files' texts, as another process would find it."""
    forget(folder)
    for name, (old, new) in changes.items():
        path = folder / f"{name}.py"
        text = path.read_text("latin-1")
        assert old in text
        path.write_text(text.replace(old, new), "latin-1")
    return source_of(own.load_object("net.py:Net", folder)).fingerprint


@pytest.mark.parametrize(
    ("change", "is_seen"),
    [
        ({"net": ("SCALE = 2", "SCALE = 3")}, True),
        ({"net": ("self.num_classes)", "self.num_classes, use_bias=False)")}, True),
        ({"net": ("width: int = 4", "width: int = 5")}, True),
        ({"helpers": ("x * scale", "x + scale")}, True),
        ({"net": ("AXIS = (1, 2)", "AXIS = (1, 2, 3)")}, False),
        ({"net": ("return AXIS", "return None")}, False),
        ({"net": ("# a comment", "# another")}, False),
        ({"net": ("Docstring.", "Another.")}, False),
        ({"net": ("A small network.", "Mine.")}, False),
        ({"helpers": ("return 1", "return 2")}, False),
        ({"net": ("SCALE = 2", "SCALE = 2\nUNUSED = tuple(range(3))")}, False),
        ({"net": ("def get_config", "OTHER = 3\n\ndef other(): return OTHER\n\ndef get_config")}, False),
        ({"net": ("TABLE.append(8)", "TABLE.append(16)")}, True),
        ({"net": ("'one line'; return scale", "'one line'; return 2 * scale")}, True),
        ({"net": ("'one line'; return scale", "'other words'; return scale")}, False),
    ],
)
def test_a_fingerprint_is_of_what_the_class_is_made_of(write, change, is_seen):
    folder = write(net=NETWORK, helpers=HELPERS)
    before = fingerprint(folder)
    assert (fingerprint(folder, **change) != before) is is_seen


FORMS = {  # ways in which a function `act(x)` of helpers.py or net.py can come to be used by a network
    "star": ("from helpers import *", "act"),
    "name": ("from helpers import act as other", "other"),
    "module": ("import helpers", "helpers.act"),
    "namespace package": ("from parts import helpers as more", "more.act"),
    "package": ("import whole.helpers", "whole.helpers.act"),
    "package's own": ("import whole.helpers", "whole.act"),
    "try": ("try:\n    from helpers import act\nexcept ImportError:\n    act = None", "act"),
    "if": ("import sys\nif sys.version_info > (3,):\n    from helpers import act", "act"),
    "in a function": ("def get():\n    from helpers import act\n    return act\nf = get()", "f"),
    "for": ("from helpers import act\nTABLE = []\nfor f in (act,):\n    TABLE.append(f)", "TABLE[0]"),
    "comprehension": ("from helpers import act\nTABLE = []\n_ = [TABLE.append(f) for f in (act,)]", "TABLE[0]"),
    "subscript": ("from helpers import act\nTABLE = {}\nTABLE['act'] = act", "TABLE['act']"),
    "update": ("from helpers import act\nTABLE = {}\nTABLE.update(act=act)", "TABLE['act']"),
    "registry of the helpers": ("from helpers import ACTS", "ACTS['act']"),
    "heirs": ("from helpers import Act", "Act.HEIRS['Double']().act"),
    "global": ("from helpers import act\ndef fill():\n    global f\n    f = act\nfill()", "f"),
    "globals()": ("from helpers import act", "globals()['act']"),
    "effect of an import": ("import helpers\nimport other", "other.TABLE[0]"),
}


ACT = """
    ACTS = {}

    def known(function):
        ACTS[function.__name__] = function
        return function

    @known
    def act(x):
        return 2 * x

    class Act:
        HEIRS = {}

        def __init_subclass__(cls):
            Act.HEIRS[cls.__name__] = cls

    class Double(Act):
        def act(self, x):
            return 2 * x

    import other
    other.TABLE.append(act)
"""


CALLER = """
import flax.linen as nn
{form}

class Net(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(self.num_classes, use_bias=False)({use}(x).mean((1, 2)))
"""


@pytest.mark.parametrize("form", FORMS)
def test_a_change_is_seen_however_it_is_reached(write, form):
    """And what is kept computes the same where nothing else is."""
    statement, use = FORMS[form]
    folder = write(net=CALLER.format(form=statement, use=use), helpers=ACT, other="TABLE = []")
    for name, init in (("parts", None), ("whole", "from whole.helpers import act")):
        (folder / name).mkdir()
        (folder / name / "helpers.py").write_text((folder / "helpers.py").read_text())
        if init is not None:
            (folder / name / "__init__.py").write_text(init)

    def output(cls):
        return cls(num_classes=1).init_with_output(jax.random.key(0), jnp.ones((1, 2, 2, 1)), False)[0].item()

    first_class = own.load_object("net.py:Net", folder)
    first, before = source_of(first_class), output(first_class)
    keep(first, folder / "kept")
    for path in (folder / "helpers.py", *folder.glob("*/helpers.py")):
        if "kept" not in path.parts:
            path.write_text(path.read_text().replace("2 * x", "3 * x"))
    forget(folder)
    changed_class = own.load_object("net.py:Net", folder)
    assert output(changed_class) == pytest.approx(1.5 * before)
    assert source_of(changed_class).fingerprint != first.fingerprint
    with own.loaded(str(first.path), first.spec, folder / "kept") as again:
        assert output(again) == before
        assert source_of(again).digest == first.digest
    assert output(changed_class) == pytest.approx(1.5 * before)


def test_what_is_kept_is_all_that_the_class_needs(write, tmp_path):
    folder = write(net=NETWORK, helpers=HELPERS, other="x = 1")
    source = source_of(own.load_object("net.py:Net", folder))
    assert sorted(map(str, source.texts)) == ["helpers.py", "net.py"]
    keep(source, tmp_path / "kept")
    (tmp_path / "kept" / "helpers.py").write_text("half of")
    keep(source, tmp_path / "kept")
    for path in folder.glob("*.py"):
        path.unlink()
    sys.modules.pop("helpers")
    with own.loaded(str(source.path), source.spec, tmp_path / "kept") as again:
        assert source_of(again).fingerprint == source.fingerprint
    assert again(num_classes=2).width == 4
    assert "helpers" not in sys.modules


@pytest.mark.parametrize("form", ["from .helpers", "from nets_of_mine.helpers"])
def test_a_class_in_a_package_is_kept_with_it(write, tmp_path, form):
    folder = write()
    (folder / "nets_of_mine").mkdir()
    (folder / "nets_of_mine" / "__init__.py").write_text("")
    (folder / "nets_of_mine" / "small.py").write_text(textwrap.dedent(NETWORK).replace("from helpers", "from .helpers"))
    (folder / "nets_of_mine" / "helpers.py").write_text(textwrap.dedent(HELPERS))
    source = source_of(own.load_object("nets_of_mine.small:Net", folder))
    assert source.spec == "nets_of_mine.small:Net"
    keep(source, tmp_path / "kept")
    found = {path.relative_to(tmp_path / "kept").as_posix() for path in (tmp_path / "kept").rglob("*.py")}
    assert found == {f"nets_of_mine/{name}.py" for name in ("__init__", "small", "helpers")}
    changed = folder / "nets_of_mine" / "small.py"
    changed.write_text(changed.read_text().replace("width: int = 4", "width: int = 5"))
    with own.loaded(str(source.path), source.spec, tmp_path / "kept") as again:
        assert again(num_classes=2).width == 4, "what is kept, not what stands there now"
        assert source_of(again).fingerprint == source.fingerprint
    keep(source, tmp_path / "again")
    assert "width: int = 4" in (tmp_path / "again" / "nets_of_mine" / "small.py").read_text(), (
        "as it was when first seen"
    )


def test_a_class_that_no_other_process_could_import_is_refused(tiny):
    class Local(nn.Module):
        num_classes: int

        def __call__(self, x, train):
            return x

    with pytest.raises(UserError, match=r"Local stands in a function, .*write it to a file .*my_network\.py:Local"):
        source_of(Local)
    Local.__qualname__, Local.__module__ = "Local", "__main__"
    source_of.cache_clear()
    with pytest.raises(UserError, match="stands in a notebook or a script"):
        source_of(Local)


def test_what_a_neighbour_is_needed_for_at_import_is_kept_though_it_does_not_count(write, tmp_path):
    folder = write(
        rates="LRS = (0.1,)",
        net="from rates import LRS\n" + textwrap.dedent(NETWORK).replace("return AXIS", "return LRS"),
        helpers=HELPERS,
    )
    source = source_of(own.load_object("net.py:Net", folder))
    keep(source, tmp_path / "kept")
    with own.loaded(str(source.path), source.spec, tmp_path / "kept") as again:
        assert again(num_classes=2).width == 4
    (folder / "rates.py").write_text("LRS = (0.2,)")
    assert fingerprint(folder) == source.fingerprint


def test_a_file_that_changed_since_it_was_read_is_not_taken_for_what_it_is_now(write, tiny):
    folder = write(net=NETWORK, helpers=HELPERS)
    tiny.folder = str(folder)
    tiny.model.update(alpha=None, total_stride=8, name="net.py:Net")
    resolve(tiny)
    (folder / "helpers.py").write_text("def widened(x, scale):\n    return x\n")
    with pytest.raises(UserError, match=r"helpers\.py has changed since this process read it: start it anew"):
        resolve(tiny)


def test_a_helper_that_only_this_process_could_import_is_refused(write, tiny):
    config = """
        import helpers
        from mnet_jax.config import presets

        def get_config():
            config = presets.get("mnist5k")
            config.model.name = "nets/net.py:Net"
            return config
    """
    folder = write(helpers=HELPERS, config=config)
    (folder / "nets").mkdir()
    (folder / "nets" / "net.py").write_text(textwrap.dedent(NETWORK))
    with pytest.raises(
        UserError, match=r"helpers, which .* lies in .*my nets, not in .*my nets/nets: put both into one"
    ):
        resolve(load(folder / "config.py").config)


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"# -*- coding: latin-1 -*-\n# \xe9\n", b"x = 1\n\x0c\n"])
def test_a_file_may_be_encoded_as_python_allows(write, prefix):
    folder = write(net=NETWORK, helpers=HELPERS)
    path = folder / "net.py"
    path.write_bytes(prefix + path.read_bytes())
    before = fingerprint(folder)
    assert fingerprint(folder, net=(".mean(", ".max(")) != before


def test_a_class_of_an_installed_package_is_made_of_that_package_alone():
    source = source_of(nn.Dense)
    assert source.spec == "flax.linen.linear:Dense"
    assert {path.parts[0] for path in source.texts} == {"flax"}
