"""Random faults, one after another: `python -m tests.faults [COUNT [FIRST_SEED]]`, 100 from seed 0 unless given.

Prints what each did; exits with 1 if a table was not that of the uninterrupted sweep. CI runs one of every other kind.
"""

import os
import pathlib
import sys
import tempfile

from tests.faults.inflict import inflict, uninterrupted


def main(count: int = 100, first: int = 0) -> int:
    failed, hit = [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        environment = os.environ | {
            "TINY_DATA_DIR": str(folder / "data"),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        }
        expected = uninterrupted(environment, folder / "undisturbed")
        for seed in range(first, first + count):
            outcome = inflict(seed, environment, folder / str(seed))
            is_same = outcome.codes[1] == 0 and outcome.table.items() >= expected.items()
            hit += outcome.has_hit
            verdict = "as undisturbed" if is_same else f"FAILED: {outcome.table}\n{outcome.output}"
            moment = "while a trial ran" if outcome.has_hit else "between trials"
            print(f"{seed}: {outcome.what}, {moment}, exit codes {outcome.codes}: {verdict}", flush=True)
            if not is_same:
                failed.append(seed)
    print(f"{count} faults, {hit} of them while a trial was running; failed: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
