"""Trials on one stream: state, step, loop, checkpoints, evaluation."""
