"""Segmentation: mIoU falls with alpha, and the head's atrous convolutions cost more than they give (V2 paper, Table 7).

    python -m mnet_jax.sweep --config configs/segmentation.py[:scenes | :fashion_scenes | :voc | :mask_folder]

scenes (the default): digits pasted onto 96 x 96 pixels, a class for each pixel
    Device: not run to its end yet. mIoU: not measured. Mult-Adds: 177, 77, 40 million with them, 90, 30, 13 without.
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
