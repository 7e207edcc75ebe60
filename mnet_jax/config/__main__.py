"""Every field of a config as Markdown.

python -m mnet_jax.config > docs/fields.md
"""

import itertools
import sys
from collections.abc import Iterable, Iterator

from mnet_jax.config import options
from mnet_jax.config.field import Choices, Field, Range, never
from mnet_jax.config.fields import FIELDS
from mnet_jax.models import registry

_HEADER = """# Fields of a config

Written by `python -m mnet_jax.config > docs/fields.md`; a test compares it. `--print_config`, behind any command that
takes a config, shows the values and who set them.

A field that is marked * cannot change the result of a trial, and so is no part of its identity; nor is a field that
stands at its default, or that has no effect beside the others (such as `optim.rmsprop_decay` under SGD). Presets set
other values than the defaults: `mnet_jax/config/presets.py`. Every field can be swept, `config.sweep.FIELD = (a, b)`,
and most can be tuned per cell, `config.tune.FIELD = (a, b)` with `config.tune_epochs`: [sweeps.md](sweeps.md).
"""

_OPTIONS_HEADER = """## config.model, the options of a network

The fields of its class. A network of one's own has those of its own class in their place. What a preset suggests and a
network does not have is dropped; what you set and it does not have is an error.
"""

_FOUND_HEADER = """## Found, not set

What a resolved config (`config.json` of a trial) says besides: found in the data, the weights and the network when a
sweep starts.
"""


def as_markdown() -> str:
    """The declarations, group by group, and the options of the networks here."""
    sections = [_HEADER]
    given = [field for field in FIELDS if not field.is_found]
    for group, fields in itertools.groupby(given, key=lambda field: field.key.rpartition(".")[0]):
        sections.append(f"## config{group and f'.{group}'}\n")
        sections.append(_table(("field", "type", "default", "values", "what it does"), map(_cells, fields)))
        if group == "model":
            sections += [
                _OPTIONS_HEADER,
                _table(("option", "of", "type", "default", "values", "what it does"), _rows()),
            ]
    found = ((f"`{field.key}`", field.help) for field in FIELDS if field.is_found)
    return "\n".join([*sections, _FOUND_HEADER, _table(("field", "what it is"), found)])


def _cells(field: Field) -> tuple[str, ...]:
    default = "-" if field.default is None else f"`{field.default!r}`"
    values = _values(field.rule)
    unit = f" ({field.unit})" if field.unit else ""
    mark = "*" if field.has_effect is never else ""
    return (f"`{field.key}`{mark}", field.kind.__name__, default, values, f"{field.help}{unit}")


def _rows() -> Iterator[tuple[str, ...]]:
    networks = {name: registry.options(registry.MODELS[name]) for name in registry.BUILT_IN}
    for option in options.built_in():
        having = {name: known[option] for name, known in networks.items() if option in known}
        defaults = {repr(known.default) for known in having.values()}
        default = defaults.pop() if len(defaults) == 1 else "each network's own"
        of = "all" if len(having) == len(networks) else ", ".join(having)
        rule = options.rule(registry.BUILT_IN[0], option)
        kind = next(iter(having.values())).kind.__name__
        yield (f"`{option}`", of, kind, default, _values(rule), options.explain(option))


def _values(rule: Range | Choices | None) -> str:
    return rule.text.removeprefix("must be ") if rule else ""


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = tuple(header)
    lines = (header, ("---",) * len(header), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
