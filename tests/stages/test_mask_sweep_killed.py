"""mask --sweep, killed and resumed to the same bytes."""

from __future__ import annotations

import shutil
import signal

from children import different, exit_code
from masked_sweeps import DRAWS
from refusals import tree


def start(folder, *options, **kwargs):
    arguments = ["mask", "--sweep", folder / "sweep", "--sets", folder / "sets", "--controls", DRAWS,
                 "--attributes", "valence", "--emotions", "joy", *options]  # fmt: skip
    return exit_code(arguments, folder / "log.txt", **kwargs)


def test_killed_before_every_operation_and_resumed_to_the_same_bytes(sweep_with_sets, tmp_path):
    """What a kill before each operation leaves is copied as one masking goes by; each different folder is gone on with."""
    whole, copies = tmp_path / "whole", tmp_path / "copies"
    shutil.copytree(sweep_with_sets, whole)
    code = start(whole, trace=tmp_path / "trace", copies=(whole / "sweep", copies))
    assert code == 0, (whole / "log.txt").read_text()
    operations = (tmp_path / "trace").read_text().splitlines()
    assert sum("/joy/" in line and line.startswith("replace") for line in operations) == 2
    wanted = tree(whole / "sweep/masked")
    left = different(copies, range(1, len(operations) + 1), tree)
    assert len(left) > 8
    for number, sweep in left.items():
        folder = tmp_path / "killed"
        shutil.copytree(sweep_with_sets, folder, ignore=shutil.ignore_patterns("sweep"))
        shutil.copytree(sweep, folder / "sweep")
        assert start(folder, "--resume") == 0, (folder / "log.txt").read_text()
        assert tree(folder / "sweep/masked") == wanted, operations[number - 1]
        shutil.rmtree(folder)


def test_really_killed_and_resumed_to_the_same_bytes(sweep_with_sets, tmp_path):
    for name in ("whole", "killed"):
        shutil.copytree(sweep_with_sets, tmp_path / name)
    assert start(tmp_path / "whole", trace=tmp_path / "trace") == 0
    saves = [n for n, line in enumerate((tmp_path / "trace").read_text().splitlines(), start=1) if "replace" in line]
    assert start(tmp_path / "killed", kill_before=saves[1]) == -signal.SIGKILL
    assert start(tmp_path / "killed", "--resume") == 0, (tmp_path / "killed/log.txt").read_text()
    assert tree(tmp_path / "killed/sweep/masked") == tree(tmp_path / "whole/sweep/masked")
