"""Weight files as other frameworks write them, made from variables of ours; `tests/parity` has real ones."""

import h5py
import jax
import numpy as np
import safetensors.numpy
from flax import traverse_util

from mnet_jax.models import registry
from mnet_jax.models.layers import DEPTHWISE
from mnet_jax.pretrained import names, recipes

_KERAS = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_variance"}


def make(name="mobilenet_v1", channels=3, num_classes=10, **fields):
    """A model and variables of random numbers, by path."""
    model = registry.MODELS[name](num_classes=num_classes, **fields)
    shapes = traverse_util.flatten_dict(recipes.abstract_variables(model, channels), sep="/")
    rng = np.random.default_rng(0)
    return model, {path: rng.uniform(0.1, 1, leaf.shape).astype(np.float32) for path, leaf in shapes.items()}


def write_keras(path, variables):
    """Keras 2's HDF5: the names of the layers and of their weights as attributes, in the model's order."""
    modules = names.in_order(variables)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["input", *[module.replace("/", "_") for module in modules]]
        file.create_group("input").attrs["weight_names"] = []
        for module in modules:
            name = module.replace("/", "_")
            group, weights = file.create_group(name), []
            for leaf_path, variable in names.variables_of(module, 0):
                value = variables[leaf_path]
                if module.endswith(DEPTHWISE):
                    value, variable = value.transpose(0, 1, 3, 2), "depthwise_kernel"
                elif value.ndim == 2:
                    value = value[np.newaxis, np.newaxis]
                weights.append(f"{name}/{variable}:0")
                group[weights[-1]] = value
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
    return str(path)


def write_torch(path, variables, own_names):
    """A safetensors state dict, with the counters that PyTorch keeps."""
    tensors = {}
    for module, name in own_names.items():
        for leaf_path, variable in names.variables_of(module, 1):
            value = variables[leaf_path]
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
            tensors[f"{name}.{variable}"] = np.ascontiguousarray(value)
        if module.endswith("/bn"):
            tensors[f"{name}.num_batches_tracked"] = np.asarray(3)
    safetensors.numpy.save_file(tensors, path)
    return str(path)


def write_torchvision(path, variables):
    return write_torch(path, variables, names.torchvision_names(names.in_order(variables)))


def write_timm(path, model, variables):
    return write_torch(path, variables, names.timm_names(model, names.in_order(variables)))


def assert_equal(loaded, variables):
    jax.tree.map(np.testing.assert_array_equal, traverse_util.flatten_dict(loaded, sep="/"), variables)
