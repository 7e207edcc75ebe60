"""Where the numbers of trials are shown besides the workdir: TensorBoard, MLflow, Weights & Biases."""
