"""Side-by-side measurements against named peers; `benchmarks/README.md` says how to run them and what they gave."""
