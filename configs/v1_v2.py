"""V1 against V2: at equal Mult-Adds and at equal parameters V2 is the more accurate (V2 paper, Table 4 and Figure 5).

    python -m mnet_jax.sweep --config configs/v1_v2.py[:mnist5k | :fashion_mnist | :cifar10 | :imagenet]

Both families over alpha, at the smallest of the four input sizes, on one stream. On small images every network has
three seeds and the learning rate that is best for it on the validation split, as one rate for all would compare rates.

mnist5k (the default), fashion_mnist: 16 pixels, total stride 8
    Mult-Adds: V1 13.2, 7.5, 3.4, 0.9 million; V2 9.1, 5.6, 2.8, 1.0 million. mnist5k: not run yet.
    fashion_mnist, one core of an AMD EPYC, 2 hours (experiments/v1_v2_fashion_mnist): the claim did not show.
    Top-1: V1 0.889, 0.885, 0.878, 0.865; V2 0.885, 0.883, 0.874, 0.866 (standard deviation over seeds 0.002); at equal
    Mult-Adds V2 minus V1 is -0.2, 0.0, -0.3, 0.0 points, each +- 0.4 (95%), so not told apart, after 4 epochs.
cifar10: 18 pixels, total stride 8
    Device: not run yet. Top-1: not measured. Mult-Adds: V1 29, 17, 7.5, 1.9 million; V2 20, 12, 6.2, 2.2 million.
imagenet (the papers' setting; mnet_jax/config/presets.py names its sources): 128 pixels
    Device: not run here. Mult-Adds: V1 186, 107, 49, 14 million; V2 99, 69, 32, 13 million.
    Top-1: published for V1 0.652, 0.621, 0.563, 0.415; for V2 0.653, 0.632, 0.577 (0.25 is not published).
"""

from mnet_jax import presets


def get_config(dataset: str = "mnist5k"):
    config = presets.get(dataset)
    config.input_size = min(presets.input_sizes(config))
    config.sweep.model.name = ("mobilenet_v1", "mobilenet_v2")
    config.sweep.model.alpha = presets.ALPHAS
    if not dataset.startswith("imagenet"):
        config.sweep.seed = (0, 1, 2)
        config.tune.optim.learning_rate = (0.0125, 0.025, 0.05, 0.1)
        config.tune_epochs = config.train.epochs / 4
    return config
