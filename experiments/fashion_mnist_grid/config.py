"""The grid of V1 on Fashion-MNIST: accuracy falls with alpha and with the input size (V1 paper, Figure 4).

    python -m mnet_jax.sweep --config experiments/fashion_mnist_grid/config.py --workdir runs/fashion_mnist_grid

Every cell has the learning rate that is best on the validation split (5,000 images) after one epoch, and three seeds of
4 epochs. Neither flip nor shift: in so short a training they cost more than they give.
"""

from mnet_jax import presets


def get_config():
    config = presets.get("fashion_mnist")
    config.data.update(flip=False, crop_padding=0)
    config.model.bn_momentum = 0.9
    config.optim.warmup_epochs = 0.25
    config.train.update(batch_size=64, epochs=4.0, log_every_steps=50, checkpoint_every_epochs=0.25)
    config.launch.trials_per_stream = 64
    config.sweep.model.alpha = presets.ALPHAS
    config.sweep.input_size = presets.input_sizes(config)
    config.sweep.seed = (0, 1, 2)
    config.tune.optim.learning_rate = (0.0125, 0.025, 0.05, 0.1)
    config.tune_epochs = 1.0
    return config
