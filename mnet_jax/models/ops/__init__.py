"""Array operations with their own gradients, chosen by platform."""
