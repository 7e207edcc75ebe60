import logging

from mnet_jax.sweep.launchers.worker import log_file
from mnet_jax.workdir.files import TrialFolder


def test_a_log_has_what_is_about_its_trial_and_about_all_and_no_library_can_break_it(tmp_path):
    folder = TrialFolder(tmp_path / "ours-00000000")
    folder.create({"seed": 1})
    folder.log_path.mkdir()
    logger, handler = logging.getLogger("a library"), log_file(folder, {"theirs-00000000"})
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.warning("%s: of this one", folder.name)
        logger.warning("%s: of the other", "theirs-00000000")
        logger.warning("a list %s", [1])
        logger.warning("a dict %(key)s", {"key": "value"})
        logger.warning("nothing")
        logger.warning("no such character here: \udcff, but here: ü")
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert folder.log_path.read_text(encoding="utf-8").splitlines() == [
        "ours-00000000: of this one",
        "a list [1]",
        "a dict value",
        "nothing",
        "no such character here: \\udcff, but here: ü",
    ]
    assert (folder.path / "log.txt.damaged").is_dir()
