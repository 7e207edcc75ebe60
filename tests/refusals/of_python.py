"""The same mistakes in Python, and those that only Python can make."""

from tests.refusals.case import Case


def _python(what: str, *lines: str) -> Case:
    return Case(what, "\n".join(f">>> {line}" for line in lines))


_V2 = ("import mnet_jax", "from mnet_jax import MobileNetV2")
_CONFIG = ("import mnet_jax", "config = mnet_jax.get_preset('mnist5k')")

CASES = (
    _python("an unknown preset", "import mnet_jax", "mnet_jax.get_preset('minst5k')"),
    _python("a misspelt field", *_CONFIG, "config.optim.learning_rat = 0.1", "mnet_jax.expand(config)"),
    _python("a misspelt override", *_CONFIG, "mnet_jax.expand(config, [{'model.alhpa': 0.5}])"),
    _python("an override that is no dict", *_CONFIG, "mnet_jax.expand(config, [0.5])"),
    _python("overrides that are one dict", *_CONFIG, "mnet_jax.expand(config, {'model.alpha': 0.5})"),
    _python("a misspelt axis", *_CONFIG, "config.sweep.model.alhpa = (1.0,)", "mnet_jax.expand(config)"),
    _python("no overrides", *_CONFIG, "mnet_jax.expand(config, [])"),
    _python("an unknown launcher", *_CONFIG, "mnet_jax.run_sweep(config, 'runs', launcher='slrum')"),
    _python("what cannot be retried", *_CONFIG, "mnet_jax.run_sweep(config, 'runs', retry=('done',))"),
    _python("one word for several", *_CONFIG, "mnet_jax.run_sweep(config, 'runs', retry='failed')"),
    _python("a config that is a dict", "import mnet_jax", "mnet_jax.expand({'seed': 1})"),
    _python("results of a folder that is not there", "import mnet_jax", "mnet_jax.results('rnus')"),
    _python("a trial that is not there", "import mnet_jax", "mnet_jax.load('runs/trials/none')"),
    _python("a network that is a function", "import mnet_jax", "mnet_jax.register_model('mine', print)"),
    _python("a network by a name of ours", *_V2, "mnet_jax.register_model('mobilenet_v1', MobileNetV2)"),
    _python("a data set by a name of ours", "import mnet_jax", "mnet_jax.register_dataset('mnist5k', print)"),
    _python("a data set that is no function", "import mnet_jax", "mnet_jax.register_dataset('mine', 3)"),
    _python("a data set without a name", "import mnet_jax", "mnet_jax.register_dataset('', print)"),
    _python("the cost of a vector", "import mnet_jax", "mnet_jax.count(mnet_jax.MobileNetV1(num_classes=10), (28,))"),
)
