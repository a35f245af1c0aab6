"""The files that begin first exist: one that is renamed would come last again, unnoticed."""

from order import LONGEST, TESTS


def test_the_longest_files_exist():
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []
