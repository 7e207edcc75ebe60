"""`python -m mnet_jax.published`; see `mnet_jax.cost.published`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("mnet_jax.cost.published", run_name="__main__", alter_sys=True)
