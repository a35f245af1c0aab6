"""One process at a time holds a folder; the lock says who it is, and ends with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from patience import HUNG

from skn.errors import InputError
from skn.store.folders import LOCK, is_vacant
from skn.store.locks import held

HOLD = """
import sys, time
from pathlib import Path
from skn.store.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
TRY = """
import sys
from pathlib import Path
from skn.errors import InputError
from skn.store.locks import held
count, refused = 0, 0
for _ in range(int(sys.argv[2])):
    try:
        with held(Path(sys.argv[1])):
            own = Path(sys.argv[1]) / "inside"
            own.touch(exist_ok=False)  # fails where another process is inside too
            own.unlink()
            count += 1
    except InputError:
        refused += 1
print(count, refused)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that takes no files")
def test_a_place_that_takes_no_folder_is_named_with_the_reason():
    with (
        pytest.raises(InputError, match="^/proc/nowhere: cannot be written .No such file or directory."),
        held(Path("/proc/nowhere")),
    ):
        pass


def test_a_second_process_is_told_who_holds_it(tmp_path, holder):
    with pytest.raises(InputError) as error, held(tmp_path / "run"):
        pass
    assert str(error.value).startswith(f"{tmp_path / 'run'}: process {holder.pid} on ")
    assert "writes there; wait until it has ended, or stop it" in str(error.value)


def test_the_lock_of_a_killed_process_is_free(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists() and is_vacant(tmp_path / "run")
    with held(tmp_path / "run"):
        (tmp_path / "run" / "result").write_text("x")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result"]


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    with held(tmp_path / "a" / "run"):
        pass
    assert not (tmp_path / "a" / "run").exists()
    with pytest.raises(KeyError), held(tmp_path / "b" / "run"):
        raise KeyError("refused")
    assert not (tmp_path / "b").exists()


def test_in_one_process_as_well(tmp_path):
    with held(tmp_path / "run"), pytest.raises(InputError, match=f"process {os.getpid()} on"), held(tmp_path / "run"):
        pass


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), held(tmp_path / "file" / "run"):
        pass


def test_three_that_come_and_go_are_never_inside_together(tmp_path):
    """The file is taken away by whoever leaves: no two may then hold two files of one name."""
    started = [
        subprocess.Popen([sys.executable, "-c", TRY, tmp_path / "run", "300"], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = [process.communicate(timeout=HUNG)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    counts = [[int(number) for number in line.split()] for line in printed]
    assert all(sum(numbers) == 300 and numbers[0] > 0 for numbers in counts)


def test_a_lock_file_of_somebody_else_is_not_repeated(tmp_path, holder):
    """Its text is shown only where it is one of skn's."""
    Path(tmp_path / "run" / LOCK).write_text("\x1b]0;owned\x07")
    with pytest.raises(InputError, match=r"run: another process writes there"), held(tmp_path / "run"):
        pass
