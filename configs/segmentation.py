"""Segmentation: mIoU falls with alpha, and the head's atrous convolutions cost more than they give (V2 paper, Table 7).

    python -m mnet_jax.sweep --config configs/segmentation.py[:scenes | :fashion_scenes | :voc | :mask_folder]

scenes (the default): digits pasted onto 96 x 96 pixels, a class for each pixel
    Device: two cores of an Intel Xeon, 34 minutes, jax 0.10.2, at `--config.input_size=96`; at 97 not run yet.
    Mult-Adds: 177, 77, 40 million with the convolutions, 90, 30, 13 without. mIoU: 0.595, 0.570, 0.570 with, 0.590,
    0.589, 0.573 without; one seed, standard error 0.013. Of the alphas only 1 and 0.25 are told apart (by 0.021,
    standard error 0.006, over both heads, paired by image).
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
