"""Keras's own MobileNets on TensorFlow, `train_on_batch` as `fit` calls it."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from benchmarks.contenders.worker import Built
from benchmarks.task import Task


def build(task: Task) -> Built:
    keras.utils.set_random_seed(0)
    if task.dtype == "bfloat16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    network = {"mobilenet_v1": keras.applications.MobileNet, "mobilenet_v2": keras.applications.MobileNetV2}[task.model]
    shape = (task.input_size, task.input_size, 3)
    model = network(input_shape=shape, alpha=task.alpha, weights=None, classifier_activation=None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss)
    images = tf.random.normal((task.batch_size, *shape))
    labels = tf.random.uniform((task.batch_size,), 0, 1000, tf.int32)
    forward = tf.function(lambda images: model(images, training=False))

    def run(steps):
        for _ in range(steps):
            if task.inference:
                forward(images).numpy()
            else:
                model.train_on_batch(images, labels)

    gpus = tf.config.list_physical_devices("GPU")
    device = (
        tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else f"CPU ({os.cpu_count()} cores)"
    )
    about = {"keras": keras.__version__, "tensorflow": tf.__version__, "device": device}

    def peak_bytes():
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpus else None

    return Built(run, peak_bytes, None, about)
