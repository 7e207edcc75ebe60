"""Prepares the data of a config before anything is trained, and fills its cache where it asks for one.

    python -m mnet_jax.data.prepare --config configs/grid.py:imagenet --config.data.source_dir=DIR
                                    --config.data.cache_side=256 [--config.data.cache_quality=90]

A sweep does the same before its first trial. Running it again goes on where it was stopped.
"""

from mnet_jax import cli


def main(file) -> int:
    from mnet_jax.data import cache, sources
    from mnet_jax.devices.process import configure
    from mnet_jax.train.inputs import settle

    configure()
    config = settle(file.config)
    cache.check(config.data, sources.split_fields(config))
    builder = sources.prepare(config.data)
    for name, split in builder.info.splits.items():
        print(f"{name}: {split.num_examples:,} images")
    print(f"folder: {cache.folder(config.data) if config.data.cache_side else builder.data_dir}")
    return 0


if __name__ == "__main__":
    cli.run(main, description=__doc__)
