"""Segmentation: mIoU falls with alpha, and the head's atrous convolutions cost more than they give (V2 paper, Table 7).

    python -m mnet_jax.sweep --config configs/segmentation.py[:scenes | :fashion_scenes | :voc | :mask_folder]

scenes (the default): digits pasted onto 96 x 96 pixels, a class for each pixel
    Device: two cores of an Intel Xeon, 34 minutes, jax 0.10.2. Mult-Adds: 235, 102, 54 million with the convolutions,
    117, 38, 17 without. mIoU: 0.681, 0.650, 0.622 with, 0.679, 0.652, 0.619 without; one seed, standard error over the
    test scenes 0.006. Neighbours differ by 0.027 to 0.032, 95% interval on the same scenes +- 0.007 to 0.008; the
    convolutions give nothing (0.002, -0.002, 0.002): experiments/segmentation_scenes.
fashion_scenes, voc (the paper's setting, 513 pixels), mask_folder (photos and masks of your own: docs/data.md)
    Device: not run. mIoU: not measured; published for voc at alpha 1: 0.757 with atrous convolutions, 0.753 without.

`--config.model.name=deeplab_mobilenet_v1` puts V1 below the head, `--config.model.output_stride=8` keeps maps large.
"""

from mnet_jax import presets

ALPHAS = (1.0, 0.5, 0.25)


def get_config(dataset: str = "scenes"):
    config = presets.get(dataset)
    config.sweep.model.update(alpha=ALPHAS, aspp=(True, False))
    return config
