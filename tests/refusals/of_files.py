"""Config files that are none, and generators that yield no trials."""

from tests.refusals.case import Case, config

_SWEEP = "sweep --config config.py"


def _file(what: str, text: str | bytes, command: str = _SWEEP) -> Case:
    return Case(what, command, {"config.py": text})


def _generator(what: str, *lines: str) -> Case:
    body = "".join(f"    {line}\n" for line in lines)
    return _file(what, config(after=f"\n\ndef sweep(config):\n{body}"))


CASES = (
    Case("no --config", "sweep"),
    Case("--config without a value", "train --config"),
    Case("a file that is not there", "sweep --config confg.py", {"config.py": config()}),
    Case("a folder", "sweep --config configs", {"configs/width.py": config()}),
    Case("an unknown word behind the colon", "sweep --config config.py:minst5k", {"config.py": config()}),
    _file("a syntax error", "def get_config(:\n    pass\n"),
    _file("bytes that are no text", b"\xff\xfe\x00 get_config"),
    _file("an empty file", ""),
    _file("an import that fails", "import mnet_jaxx\n"),
    _file("sys.exit in the file", "import sys\nsys.exit(0)\n"),
    _file("an error at its top level", "ALPHAS = 1 / 0\n"),
    _file("get_config that is no function", "get_config = {'seed': 1}\n"),
    _file("get_config that returns None", "def get_config():\n    pass\n"),
    _file("get_config that returns a dict", "def get_config():\n    return {'seed': 1}\n"),
    _file("get_config that raises", "def get_config():\n    raise KeyError('alpha')\n"),
    _file("get_config that exits", "import sys\n\n\ndef get_config():\n    sys.exit('no')\n"),
    _file("get_config without an argument", "def get_config():\n    pass\n", "sweep --config config.py:imagenet"),
    _file("get_config that reads a missing file", "def get_config():\n    return open('notes.txt')\n"),
    _file(
        "a ConfigDict of one's own",
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n    return ConfigDict({'seed': 1})\n",
    ),
    _file("a misspelt field", config("config.optim.learning_rat = 0.1")),
    _file("a field in the wrong group", config("config.alpha = 0.5")),
    _file("a misspelt group", config("config.modle.alpha = 0.5")),
    _file(
        "a misspelt group, made",
        config("from ml_collections import ConfigDict", "config.modle = ConfigDict({'alpha': 0.5})"),
    ),
    _file("a deleted group", config("del config.optim")),
    _file("a deleted field", config("del config.train.epochs")),
    _file("a group replaced by a number", config("config.train = 3")),
    _file("a wrong type", config("config.train.batch_size = '64'")),
    _file("sweep that is no function", config(after="\n\nsweep = (1.0, 0.5)\n")),
    _file("sweep deleted", config("del config.sweep")),
    _generator("a generator without yield", "pass"),
    _generator("a generator of numbers", "yield 0.5"),
    _generator("a generator of nested dicts", "yield {'model': {'alpha': 0.5}}"),
    _generator("a generator that raises", "yield {'model.alpha': 0.5}", "raise ValueError('no more')"),
    _generator("a generator of nothing", "yield from ()"),
    _generator("a generator with a misspelt field", "yield {'model.alhpa': 0.5}"),
    _generator("a generator with a wrong type", "yield {'model.alpha': 'half'}"),
    _generator("a generator that yields one trial twice", "yield {'seed': 1}", "yield {'seed': 1}"),
    _generator("a generator that yields an axis", "yield {'sweep.seed': (0, 1)}"),
    _file("a generator that takes no config", config(after="\n\ndef sweep():\n    yield {}\n")),
    Case(
        "axes beside a generator",
        "sweep --config config.py --config.sweep.seed=(0,1)",
        {"config.py": config(after="\n\ndef sweep(config):\n    yield {}\n")},
    ),
)
