"""Int8 per channel costs the widths of V1 little accuracy and leaves a quarter of the bytes; per tensor it costs more.

    python -m mnet_jax.sweep --config experiments/int8_fashion_mnist/config.py --workdir runs/int8

MobileNet V1 on Fashion-MNIST at 16 pixels, four alphas, three seeds of 4 epochs, at the rate that the tuning of
experiments/fashion_mnist_grid chose on the validation split for each of these four cells: 0.05.
"""

from mnet_jax import presets


def get_config():
    config = presets.get("fashion_mnist")
    config.input_size = 16
    config.data.update(flip=False, crop_padding=0)
    config.model.bn_momentum = 0.9
    config.optim.update(learning_rate=0.05, warmup_epochs=0.25)
    config.train.update(batch_size=64, epochs=4.0, log_every_steps=50, checkpoint_every_epochs=0.5)
    config.sweep.model.alpha = presets.ALPHAS
    config.sweep.seed = (0, 1, 2)
    return config
