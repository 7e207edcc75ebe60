"""All that is claimed of a GPU, measured on one within minutes; see `python -m benchmarks.device --help`."""
