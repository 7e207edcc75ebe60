import os
import subprocess
import sys

import pytest

from mnet_jax.devices.process import environment, set_xla_flags
from tests.conftest import REPOSITORY

COUNT_CACHE_EVENTS = """
import collections, runpy, sys, jax
events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
sys.argv = ["train", *sys.argv[1:]]
try:
    runpy.run_module("mnet_jax.train", run_name="__main__")
finally:
    print(*(events[f"/jax/compilation_cache/cache_{outcome}"] for outcome in ("hits", "misses")))
"""


@pytest.mark.parametrize(
    ("before", "added"),
    [
        (None, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
        ("glibc.malloc.check=1", {"GLIBC_TUNABLES": "glibc.malloc.check=1:glibc.malloc.hugetlb=1"}),
        ("glibc.malloc.hugetlb=0", {}),
    ],
)
def test_huge_pages_are_asked_for_unless_the_user_decided(monkeypatch, before, added):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if before:
        monkeypatch.setenv("GLIBC_TUNABLES", before)
    assert environment() == added


@pytest.mark.parametrize(
    ("devices", "before", "after"), [(None, None, None), ("1", None, None), ("8", None, "64"), ("8", "3", "3")]
)
def test_devices_of_one_cpu_get_threads_of_their_own_unless_the_user_decided(monkeypatch, devices, before, after):
    for name, value in (("JAX_NUM_CPU_DEVICES", devices), ("NPROC", before), ("XLA_FLAGS", "--xla_dump_to=")):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    set_xla_flags()
    assert os.environ.get("NPROC") == after
    assert os.environ["XLA_FLAGS"].endswith(" --xla_dump_to=")
    monkeypatch.delenv("NPROC", raising=False)


@pytest.mark.slow
def test_a_second_start_of_a_trial_compiles_nothing(tmp_path, data_dir):
    counts = []
    for attempt in ("first", "second"):
        done = subprocess.run(
            [
                *(sys.executable, "-c", COUNT_CACHE_EVENTS, "--config=tests/tiny_sweep.py"),
                *("--config.train.epochs=1.0", f"--workdir={tmp_path / attempt}"),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=REPOSITORY,
            env=os.environ | {"TINY_DATA_DIR": data_dir, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")},
        )
        assert done.returncode == 0, done.stderr
        counts.append([int(word) for word in done.stdout.split()[-2:]])
    (_, first_misses), (second_hits, second_misses) = counts
    assert first_misses > 0
    assert second_misses == 0, f"{second_misses} programs were compiled again"
    assert second_hits == first_misses
