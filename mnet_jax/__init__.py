"""mnet_jax: train grids of MobileNets and draw accuracy against Mult-Adds."""
