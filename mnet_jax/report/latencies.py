"""Whether Mult-Adds say which network is faster: rank correlations with the latencies that were measured."""

from collections.abc import Sequence

from scipy.stats import spearmanr

from mnet_jax.workdir.deployment import LATENCY
from mnet_jax.workdir.results import Row

_FEWEST = 3  # networks


def as_text(rows: Sequence[Row]) -> str:
    """A line for each column of latencies; "" where there is none, or too few networks."""
    columns = sorted({column for row in rows for column in row if column.startswith(LATENCY)})
    lines = []
    for column in columns:
        networks = {
            (row["model"], row["mult_adds"], row["params"], row[column])
            for row in rows
            if row.get(column) is not None and row["mult_adds"]
        }
        if len(networks) >= _FEWEST:
            _, costs, _, found = zip(*networks, strict=True)
            if len(set(costs)) > 1 and len(set(found)) > 1:
                said = f"Spearman's rank correlation {spearmanr(costs, found).statistic:.3f}"
                lines.append(f"Mult-Adds and {column}: {said}, {len(networks)} networks")
    return "\n".join(lines)
