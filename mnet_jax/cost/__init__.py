"""Mult-Adds, parameters and activations of any Linen module, and what the papers print of them."""
