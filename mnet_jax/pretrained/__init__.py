"""Weights that Keras Applications, torchvision and timm trained, as variables of our networks."""
