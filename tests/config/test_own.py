"""Networks of one's own: found, and their options."""

import textwrap

import jax
import jax.numpy as jnp
import pytest

from mnet_jax.config import own
from mnet_jax.config.resolve import resolve
from mnet_jax.errors import UserError
from mnet_jax.models import registry
from mnet_jax.sweep.grid import expand
from tests.config.small_network import HELPERS, NETWORK


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


def test_a_name_belongs_to_one_class(write):
    folder = write(net=NETWORK, helpers=HELPERS)
    cls = own.load_object("net.py:Net", folder)
    registry.register("mine", cls)
    registry.register("mine", cls)
    with pytest.raises(UserError, match="the name is MobileNetV1's already"):
        registry.register("mobilenet_v1", cls)


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


def test_a_name_means_the_file_of_its_own_folder(write, tiny):
    folder = write(net=NETWORK, helpers=HELPERS)
    (folder / "other").mkdir()
    for name, text in (("net", NETWORK.replace("width: int = 4", "width: int = 99")), ("helpers", HELPERS)):
        (folder / "other" / f"{name}.py").write_text(textwrap.dedent(text))
    tiny.model.update(alpha=None, total_stride=8, name="net.py:Net")
    for place, width in ((folder, 4), (folder / "other", 99), (folder, 4)):
        tiny.folder = str(place)
        assert resolve(tiny).model.width == width


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
