"""A workdir whose trials are done, without training: resolved configs in, invented results out."""

import copy

from mnet_jax.workdir.files import DONE, Workdir


def finish(path, configs, top1=lambda i: 0.5 + i / 100, cost=lambda i: 1000 * (i + 1)):
    """A workdir with a trial per config (a resolved config's `to_dict()`)."""
    workdir = Workdir(path)
    counted = {}
    for i, config in enumerate(configs):
        folder = workdir.trial(f"trial-{i:08x}")
        folder.create(config)
        score = {"classification": "top1", "segmentation": "miou"}[config.get("task", "classification")]
        result = {score: top1(i), "top5": 1.0, "loss": 0.5, "epochs": config["train"]["epochs"], "steps": 10}
        result |= {"images_per_second": 1.0, "wall_seconds": 2.0, "device": "1 x CPU", "test_images": 100}
        folder.set_result(result)
        folder.set_status(DONE)
        counted[folder.name] = {"mult_adds": cost(i), "params": 10}
    workdir.set_sweep({"trials": counted})
    return workdir


def changed(config, key, value):
    """A copy of a nested config with a dotted key set, whether or not it is there."""
    config = copy.deepcopy(config)
    *path, leaf = key.split(".")
    node = config
    for name in path:
        node = node[name]
    node[leaf] = value
    return config
