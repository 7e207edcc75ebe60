"""Networks and config files of one's own: found, explained, fingerprinted, kept."""

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
from mnet_jax.models import registry
from mnet_jax.sweep.grid import expand

NETWORK = '''
    """A small network."""
    import flax.linen as nn
    from helpers import widened

    SCALE = 2
    AXIS = (1, 2)
    TABLE = []
    TABLE.append(8)

    def scaled(scale): 'one line'; return scale

    class Net(nn.Module):
        """Docstring."""
        num_classes: int
        width: int = 4
        rate: float = 1
        groups: int | None = None
        pair: tuple[int, int] = (1, 2)
        activation: object = None

        @nn.compact
        def __call__(self, x, train):
            # a comment
            return nn.Dense(self.num_classes)(widened(x, scaled(SCALE) * TABLE[0]).mean((1, 2)))

    def get_config():
        return AXIS
'''
HELPERS = """
    import numpy as np

    def widened(x, scale):
        return x * scale

    def unused():
        return 1
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files into a folder with a blank in its name; forgets modules that were loaded from it."""
    folder = tmp_path / "my nets"
    folder.mkdir()
    before = dict(registry.MODELS)

    def write(**files):
        for name, text in files.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        return folder

    yield write
    forget(folder)
    registry.MODELS.clear()
    registry.MODELS.update(before)


def forget(folder):
    """As another process begins."""
    own._executed.clear()
    for name, module in list(sys.modules.items()):
        if str(folder) in str(own._place(module)):
            del sys.modules[name]


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


def test_the_options_of_a_network_are_the_fields_of_its_class(write):
    cls = own.load_object("net.py:Net", write(net=NETWORK, helpers=HELPERS))
    options = registry.options(cls)
    assert {name: (option.kind, option.default) for name, option in options.items()} == {
        "width": (int, 4),
        "rate": (float, 1.0),
        "groups": (int, None),
        "pair": (tuple, (1, 2)),
    }


def test_what_a_preset_suggests_is_dropped_and_what_the_user_sets_is_refused(write, tiny):
    tiny.folder = str(write(net=NETWORK, helpers=HELPERS))
    tiny.model.update(alpha=None, total_stride=8, bn_momentum=0.9)  # as the preset has them
    resolved = resolve(tiny, {"model.name": "net.py:Net", "model.width": 8})
    assert {"width": 8, "pair": (1, 2)}.items() <= resolved.model.to_dict().items()
    assert "alpha" not in resolved.model
    assert resolved.model.spec == "net.py:Net"
    assert resolved.model.path.endswith("my nets/net.py")
    for key, value, message in (
        ("model.alpha", 0.5, r"config\.model\.alpha=0\.5: net\.py:Net has no such option .*\(it has width, rate"),
        ("model.widht", 8, "unknown field config.model.widht: did you mean model.width"),
        ("model.width", 2.5, "config.model.width=2.5: must be of type int"),
    ):
        with pytest.raises(UserError, match=message):
            resolve(tiny, {"model.name": "net.py:Net", key: value})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.py:Net", r"'absent\.py:Net': there is no file .*my nets/absent\.py"),
        ("net.py:Nett", r"net\.py has no Nett: did you mean Net\?"),
        ("net.py:AXIS", r"\(1, 2\) is no class of flax\.linen\.Module"),
        ("absent_package.nets:Net", r"there is no module absent_package\.nets, neither installed nor in .*my nets"),
        ("broken.py:Net", r"broken\.py, line 3: .*never closed"),
        ("raising.py:Net", r"raising\.py, line 2: ZeroDivisionError: division by zero"),
        ("leaving.py:Net", r"leaving\.py, line 1: SystemExit: 3"),
        ("mobilenet_v4", r"did you mean mobilenet_v\d\? \(known: mobilenet_v1"),
        ("no_train.py:Net", r"Net\.__call__ must take \(x, train\)"),
        ("no_classes.py:Net", r"Net has no field num_classes"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_in_one_line(write, tiny, name, message):
    module = "import flax.linen as nn\nclass Net(nn.Module):\n"
    tiny.folder = str(
        write(
            net=NETWORK,
            helpers=HELPERS,
            broken="\n\nx = (",
            raising="y = 1\nx = 1 / 0",
            leaving="raise SystemExit(3)",
            no_train=f"{module}    num_classes: int\n    def __call__(self, x):\n        return x\n",
            no_classes=f"{module}    width: int = 1\n    def __call__(self, x, train):\n        return x\n",
        )
    )
    with pytest.raises(UserError, match=message) as error:
        resolve(tiny, {"model.name": name})
    assert "\n" not in str(error.value)


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


def test_a_name_belongs_to_one_class(write):
    folder = write(net=NETWORK, helpers=HELPERS)
    cls = own.load_object("net.py:Net", folder)
    registry.register("mine", cls)
    registry.register("mine", cls)
    with pytest.raises(UserError, match="the name is MobileNetV1's already"):
        registry.register("mobilenet_v1", cls)


def test_a_config_file_is_executed_once(write):
    text = """
        from mnet_jax import presets
        SEEN = []

        def get_config():
            SEEN.append("get_config")
            return presets.get("mnist5k")

        def sweep(config):
            for seen in SEEN:
                yield {"seed": len(SEEN)}
    """
    file = load(write(config=text) / "config.py", overrides=[("train.epochs", "2")])
    assert file.trials() == [{"seed": 1}]
    assert file.config.train.epochs == 2.0
    assert file.config.chosen == ("train.epochs",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"a config file defines get_config\(dataset\)"),
        ("def get_config():\n    return None", "get_config must return a ConfigDict.*not None"),
        ("def get_config():\n    return {}", r"get_config must return a ConfigDict.*not \{\}"),
        ("def get_config():\n    raise KeyError('a')", r"line 2: KeyError: 'a'"),
        ("sweep = 3\ndef get_config():\n    pass", "sweep must be a function of the config that yields dicts; it is 3"),
        (
            "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'a': 1})",
            r"get_config must start from presets\.get",
        ),
    ],
)
def test_a_config_file_that_is_none_is_refused_in_one_line(write, text, message):
    with pytest.raises(UserError, match=message) as error:
        load(write(config=text) / "config.py")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", r"must yield dicts with dotted keys, not 3"),
        ("yield 'seed'", r"must be a dict with dotted keys, not 'seed'"),
        ("yield {1: 2}", r"must be a dict with dotted keys, not \{1: 2\}"),
        ("yield {}['x']", r"line 6: KeyError: 'x'"),
    ],
)
def test_a_sweep_that_yields_no_overrides_is_refused(write, body, message):
    text = f"""
        from mnet_jax import presets
        def get_config():
            return presets.get("mnist5k")
        def sweep(config):
            {body}
    """
    file = load(write(config=text) / "config.py")
    with pytest.raises(UserError, match=message):
        expand(file.config, file.trials())


def test_origins_say_who_set_a_field(write):
    text = """
        from mnet_jax import presets
        def get_config():
            config = presets.get("mnist5k")
            config.optim.momentum = 0.8
            return config
    """
    file = load(write(config=text) / "config.py", overrides=[("seed", "3"), ("train.epochs", "8.0")])
    origins = {key: (value, origin) for key, value, origin in file.origins()}
    assert origins["seed"] == (3, "flag")
    assert origins["train.epochs"] == (8.0, "flag")
    assert origins["optim.momentum"] == (0.8, "file")
    assert origins["train.batch_size"] == (32, "preset")
    assert origins["optim.schedule"] == ("cosine", "default")
    assert origins["model.bn_epsilon"] == (1e-3, "network")
    assert origins["data.mean"] == ((0.5,), "default")
    assert "model.residual" not in origins


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


def test_names_that_the_networks_here_have_may_mean_something_else(write, tiny):
    """A preset's alpha and layers are not meant for a network of one's own; its own type counts."""
    text = NETWORK.replace("width: int = 4", "width: int = 4\n        layers: int = 3\n        alpha: float = 0.5")
    tiny.folder = str(write(net=text, helpers=HELPERS))
    tiny.model.update(alpha=None, total_stride=8)
    model = resolve(tiny, {"model.name": "net.py:Net"}).model
    assert (model.layers, model.alpha) == (3, 0.5)
    assert resolve(tiny, {"model.name": "net.py:Net", "model.layers": 4}).model.layers == 4
    assert resolve(tiny, {"model.name": "net.py:Net", "model.groups": None}).model.groups is None


def test_what_an_axis_sets_is_never_dropped_and_may_be_an_option_of_ones_own(write, tiny):
    tiny.folder = str(
        write(net=NETWORK.replace("width: int", "alpha: float = 0.5\n        width: int"), helpers=HELPERS)
    )
    tiny.model.update(alpha=None, total_stride=8, name="net.py:Net")
    tiny.sweep.model.alpha = (1.0, 0.5, 0.25)
    assert [trial.model.alpha for trial in expand(tiny).values()] == [1.0, 0.5, 0.25]
    tiny.sweep.model = {"name": ("mobilenet_v1", "net.py:Net"), "total_stride": (8,)}
    with pytest.raises(UserError, match=r"config\.model\.total_stride=8: net\.py:Net has no such option"):
        expand(tiny)


def test_a_file_that_changed_since_it_was_read_is_not_taken_for_what_it_is_now(write, tiny):
    folder = write(net=NETWORK, helpers=HELPERS)
    tiny.folder = str(folder)
    tiny.model.update(alpha=None, total_stride=8, name="net.py:Net")
    resolve(tiny)
    (folder / "helpers.py").write_text("def widened(x, scale):\n    return x\n")
    with pytest.raises(UserError, match=r"helpers\.py has changed since this process read it: start it anew"):
        resolve(tiny)


def test_a_name_means_the_file_of_its_own_folder(write, tiny):
    folder = write(net=NETWORK, helpers=HELPERS)
    (folder / "other").mkdir()
    for name, text in (("net", NETWORK.replace("width: int = 4", "width: int = 99")), ("helpers", HELPERS)):
        (folder / "other" / f"{name}.py").write_text(textwrap.dedent(text))
    tiny.model.update(alpha=None, total_stride=8, name="net.py:Net")
    for place, width in ((folder, 4), (folder / "other", 99), (folder, 4)):
        tiny.folder = str(place)
        assert resolve(tiny).model.width == width


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


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("path: str = 'x'", r"Net\.path: config\.model\.path says where a class stands; rename it"),
        ("dtype: object = 'bf16'", r"Net\.dtype='bf16': no dtype"),
        ("other: 'Nowhere' = 1", r"the annotations of Net cannot be read \(NameError"),
        ("other: object", r"Net\.other: a field without default must be int, float, bool, str or tuple"),
    ],
)
def test_a_field_that_cannot_be_an_option_is_named(write, tiny, field, message):
    text = NETWORK.replace("width: int = 4", f"{field}\n        width: int = 4")
    tiny.folder = str(write(net=text, helpers=HELPERS))
    with pytest.raises(UserError, match=message):
        resolve(tiny, {"model.name": "net.py:Net"})


def test_two_networks_of_one_name_are_not_taken_for_one(write, tiny):
    """Each imports its own neighbour, too, though both are called helpers."""
    folder = write()
    for name, factor in (("a", "scale"), ("b", "scale + 1")):
        (folder / name).mkdir()
        (folder / name / "helpers.py").write_text(textwrap.dedent(HELPERS).replace("x * scale", f"x * ({factor})"))
        (folder / name / "net.py").write_text(textwrap.dedent(NETWORK))
    nets = [own.load_object(f"{name}/net.py:Net", folder) for name in ("a", "b")]
    outputs = [net(num_classes=1).init_with_output(jax.random.key(0), jnp.ones((1, 2, 2, 1)), False)[0] for net in nets]
    assert outputs[1] == pytest.approx(17 / 16 * outputs[0])
    tiny.folder = str(folder)
    tiny.model.update(alpha=None, total_stride=8)
    with pytest.raises(UserError, match=r"two networks are called net\.py:Net: rename a file or a class"):
        expand(tiny, [{"model.name": "a/net.py:Net"}, {"model.name": "b/net.py:Net"}])


def test_a_flag_sweeps_over_networks_of_ones_own_and_sets_their_options(write):
    config = """
        from mnet_jax.config import presets

        def get_config():
            return presets.get("mnist5k")
    """
    path = write(net=NETWORK, helpers=HELPERS, config=config) / "config.py"
    names = ("sweep.model.name", "('net.py:Net',)")
    file = load(path, overrides=[names, ("sweep.model.width", "(3, 5)")])
    assert sorted(trial.model.width for trial in expand(file.config).values()) == [3, 5]
    with pytest.raises(UserError, match=r"unknown field config\.sweep\.model\.widht: did you mean"):
        load(path, overrides=[names, ("sweep.model.widht", "(3, 5)")])


def test_a_linked_config_file_finds_what_lies_beside_its_target(write, tmp_path):
    """As Python does for a script; its name, after which the workdir is called, is the link's."""
    config = """
        import helpers
        from mnet_jax.config import presets

        def get_config():
            config = presets.get("mnist5k")
            config.model.name = "net.py:Net"
            return config
    """
    folder = write(net=NETWORK, helpers=HELPERS, config=config)
    link = tmp_path / "linked.py"
    link.symlink_to(folder / "config.py")
    file = load(link)
    assert file.path.stem == "linked"
    assert resolve(file.config).model.path == str(folder / "net.py")
