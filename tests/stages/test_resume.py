"""Training survives a kill at any moment: the resumed run has the bytes of one that was never interrupted."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from children import different, exit_code, start
from options import replaced
from patience import HUNG

from skn.store.folders import LOCK
from skn.training import checkpoints


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file but the times and the lock, and every folder."""
    found = {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}
    for name in ("timings.json", LOCK):  # the lock of a process that was killed is the next one's
        found.pop(name, None)
    return found


class Runner:
    """Starts, kills and resumes ``skn train`` on one tiny model and data set."""

    def __init__(self, base: Path, backbone: Path, data: Path):
        self.base, self.log = base, base / "log.txt"
        self.arguments = ["train", "--backbone", backbone, "--data", data, "--verbalizer", "negative,positive",
                          "--prompt-length", 4, "--lr", 0.05, "--epochs", 3, "--batch-size", 40, "--eval-every", 2]  # fmt: skip
        self.references: dict[tuple, Path] = {}

    def training(self, out: Path, *options) -> list:
        return [*replaced(self.arguments, options), "--out", out]

    def train(self, out: Path, *options, **kwargs) -> int:
        return self._ended(self.training(out, *options), kwargs)

    def resume(self, out: Path, **kwargs) -> int:
        return self._ended(["train", "--resume", "--out", out], kwargs)

    def _ended(self, arguments: list, kwargs: dict) -> int:
        code = exit_code(arguments, self.log, **kwargs)
        assert code in (0, 1, 2, -signal.SIGKILL), self.log.read_text()
        return code

    def reference(self, *options) -> Path:
        """The uninterrupted run; its operations are listed beside it in a file of suffix .trace."""
        if options not in self.references:
            out = self.base / f"reference-{len(self.references)}"
            assert self.train(out, *options, trace=out.with_suffix(".trace")) == 0, self.log.read_text()
            self.references[options] = out
        return self.references[options]

    def expect(self, out: Path, *options, hint: str = "") -> None:
        found, wanted = snapshot(out), snapshot(self.reference(*options))
        assert found.keys() == wanted.keys(), hint
        assert [name for name in wanted if found[name] != wanted[name]] == [], hint


@pytest.fixture(scope="module")
def runner(tiny, corpus_folder, tmp_path_factory):
    return Runner(tmp_path_factory.mktemp("resume"), tiny("roberta"), corpus_folder)


@pytest.fixture
def out(runner, request):
    folder = runner.base / f"run-{len(list(runner.base.iterdir()))}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def operations(runner, *options) -> list[str]:
    return runner.reference(*options).with_suffix(".trace").read_text().splitlines()


def test_the_reference_has_what_the_kills_are_aimed_at(runner):
    trace = operations(runner)
    assert len(renames(trace)) == 6  # one checkpoint an evaluation
    assert sorted(snapshot(runner.reference())) == ["run.json", "skn.json", "splits.safetensors", "tuned.safetensors"]


def renames(trace: list[str]) -> list[int]:
    """The numbers of the operations that make a checkpoint appear."""
    return [number for number, line in enumerate(trace, start=1) if line.startswith("rename")]


def kill_points(trace: list[str]) -> list[int]:
    """The beginning; first and second save with the removal after it; and the writing of the result.

    The folder's syncs are left out: a kill before one finds the same files as a kill before the next operation. So
    is a checkpoint's second file, which is written as the first and third are.
    """
    first, second, *_, last = renames(trace)
    wanted = [*range(1, first + 1), *range(second, second + 6), *range(last + 1, len(trace) + 1)]
    left_out = re.compile(r"fsync .*/$|.*progress\.json\.\d")
    return [n for n in wanted if not left_out.match(trace[n - 1])]


def test_killed_before_every_operation(runner, out, tmp_path):
    """What a kill before each operation leaves is copied as one training goes by; each different folder is gone on with."""
    trace = operations(runner)
    points = kill_points(trace)
    assert len(points) > 20
    assert runner.train(out, copies=(out, tmp_path)) == 0, runner.log.read_text()
    shutil.rmtree(out)
    left = different(tmp_path, points, snapshot)
    assert len(left) > 15
    for point, folder in left.items():
        hint = f"killed before operation {point}: {trace[point - 1]}"
        if folder.exists():
            shutil.copytree(folder, out)
        if renames(trace)[0] < point <= renames(trace)[-1]:
            assert checkpoints.newest(out / "checkpoints"), hint
        if (out / "run.json").exists():
            assert runner.resume(out) == 0, hint + runner.log.read_text()
        else:  # nothing was begun: the command itself, again
            assert runner.train(out) == 0, hint + runner.log.read_text()
        runner.expect(out, hint=hint)
        shutil.rmtree(out)


def test_a_copy_is_what_a_kill_leaves(runner, out, tmp_path):
    """The copies that the other test goes on with are the folders of real kills."""
    trace = operations(runner)
    points = kill_points(trace)
    for point in (points[len(points) // 3], points[-2]):
        assert runner.train(out, kill_before=point) == -signal.SIGKILL
        killed = snapshot(out)
        shutil.rmtree(out)
        assert runner.train(out, copies=(out, tmp_path / str(point))) == 0, runner.log.read_text()
        named = re.compile(r"\.[0-9a-f]{8}-\d+\.tmp")  # with the number of the process
        copied = snapshot(tmp_path / str(point) / str(point))
        assert {named.sub("", name): content for name, content in copied.items()} == {
            named.sub("", name): content for name, content in killed.items()
        }
        shutil.rmtree(out)


@pytest.mark.parametrize("method", ["prompt", "bitfit", "adapter"])
def test_killed_again_and_again(runner, out, method):
    options = () if method == "prompt" else ("--method", method, "--prompt-length", 1)
    assert runner.train(out, *options, kill_before=32) == -signal.SIGKILL
    kills = 1
    while runner.resume(out, kill_before=27) == -signal.SIGKILL:
        kills += 1
        assert kills < 30
    assert kills > 2
    runner.expect(out, *options)


def test_killed_at_random_moments(runner, out):
    """Soon after a new checkpoint appears, at no particular operation; three times."""
    delays, kills, seen = random.Random(0), 0, None
    process = start(runner.training(out, "--seed", 1), runner.log)
    while process.exitcode is None and kills < 3:
        newest = checkpoints.newest(out / "checkpoints")
        if newest == seen:
            process.join(0.001)
            continue
        seen = newest
        process.join(delays.uniform(0, 0.03))
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            process = start(["train", "--resume", "--out", out], runner.log)
    process.join()
    assert process.exitcode == 0, runner.log.read_text()
    assert kills
    runner.expect(out, "--seed", 1)


def test_early_stopping_counts_on(runner, out):
    """With a rate of nothing the first evaluation stays the best: three more, and it stops, killed or not."""
    options = ("--lr", 1e-9, "--patience", 3)
    trace = operations(runner, *options)
    saves = renames(trace)
    assert len(saves) == 4
    for point in (saves[1] + 1, saves[3] + 1):  # with a count of one; stopped, but nothing of the result written
        assert runner.train(out, *options, kill_before=point) == -signal.SIGKILL
        assert runner.resume(out) == 0, runner.log.read_text()
        runner.expect(out, *options, hint=f"killed before operation {point}")
        shutil.rmtree(out)


def test_a_finished_run_is_left_as_it_is(runner, out):
    shutil.copytree(runner.reference(), out)
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    assert runner.resume(out) == 0
    assert f"{out}: training is complete" in runner.log.read_text().replace("\n", "")
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == before


def test_leftovers_are_ignored_and_removed(runner, out):
    trace = operations(runner)
    assert runner.train(out, kill_before=renames(trace)[1] + 2) == -signal.SIGKILL
    folder = out / "checkpoints"
    newest = checkpoints.newest(folder)
    assert newest.name == "step-00000004"
    (folder / ".partial-00000099").mkdir()
    (folder / ".partial-00000099" / checkpoints.TENSORS).write_bytes(b"torn")
    (folder / "step-00000006").mkdir()  # of a removal that was cut short
    (folder / "step-00000006" / checkpoints.PROGRESS).write_text("{}")
    (out / ".tuned.safetensors.4711.tmp").write_bytes(b"torn")
    assert checkpoints.newest(folder) == newest
    assert runner.resume(out) == 0, runner.log.read_text()
    runner.expect(out)


def test_overwriting_is_killed(runner, out, tmp_path):
    """Whatever is left can be overwritten again, and resumed where it says that it is a run."""
    shutil.copytree(runner.reference("--seed", 1), out)
    trace = runner.base / "overwrite.trace"
    assert runner.train(out, "--overwrite", trace=trace, copies=(out, tmp_path)) == 0, runner.log.read_text()
    runner.expect(out)
    first_save = next(n for n, line in enumerate(trace.read_text().splitlines(), start=1) if ".partial-" in line)
    left = different(tmp_path, range(1, first_save + 1), snapshot)
    assert len(left) > 4
    for turn, (point, folder) in enumerate(left.items()):
        shutil.rmtree(out)
        shutil.copytree(folder, out)
        assert (out / "run.json").exists()
        if turn % 2:
            assert runner.train(out, "--overwrite") == 0, runner.log.read_text()
            runner.expect(out, hint=f"killed before operation {point}")
        else:
            assert runner.resume(out) == 0, runner.log.read_text()
            finished = [o for o in ((), ("--seed", 1)) if snapshot(out) == snapshot(runner.reference(*o))]
            assert finished, f"killed before operation {point}"


def test_a_damaged_checkpoint_is_named(runner, out):
    trace = operations(runner)
    assert runner.train(out, kill_before=renames(trace)[0] + 2) == -signal.SIGKILL
    file = checkpoints.newest(out / "checkpoints") / checkpoints.TENSORS
    file.write_bytes(file.read_bytes()[:100])
    before = runner.log.stat().st_size
    assert runner.resume(out) == 2
    said = runner.log.read_bytes()[before:].decode()
    assert "step-00000002" in said and "Traceback" not in said


def test_ctrl_c_on_the_command_line(runner, out):
    options = ("--epochs", 8, "--patience", 1000)
    code = "import torch; torch.set_num_threads(1); from skn.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, [*replaced(runner.arguments, options), "--out", out])]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with Ctrl-C ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + HUNG
    while checkpoints.newest(out / "checkpoints") is None:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=HUNG)
    assert process.returncode == 130, said
    lines = [line for line in said.splitlines() if not line.startswith(("tune: ", "backbone "))]
    assert lines == ["skn: interrupted; what was complete is kept, --resume continues"]
    assert runner.resume(out) == 0, runner.log.read_text()
    runner.expect(out, *options)
