"""The parts of ``scripts/gpu``, each without a GPU: what becomes of a run when a piece, a build or a capture goes wrong."""

import json
import os
import subprocess
import sys

import pytest
from repository import REPOSITORY

GPU = REPOSITORY / "scripts" / "gpu"


# When a piece of a step goes wrong ------------------------------------------------------------------------

PIECES = """
import os, sys, time
sys.path.insert(0, {gpu!r})
import work
from bench import suite

def rows(bench):
    x = bench.sets(4)
    bench.kernel("raises", lambda i: 1 // 0, x)
    bench.kernel("goes on", lambda i: x[i].sum(), x)

def raises(_):
    raise ValueError("for a reason")

def breaks(_):
    work.alive = lambda device: False
    raise RuntimeError("an illegal memory access was encountered")

assert "torch" not in sys.modules
pieces = {{"first": lambda _: "said", "rows": suite(rows), "raises": raises, "breaks": breaks, "lacks": work.later("no_such.thing"), "dies": lambda _: os._exit(9),
          "stands": lambda _: time.sleep(600), "last": lambda _: None}}
sys.exit(work.main("", pieces, work.later("timing.Bench")))
"""


@pytest.mark.slow
def test_a_piece_that_goes_wrong_leaves_its_error_and_the_later_ones(tmp_path):
    script, lines = tmp_path / "pieces.py", tmp_path / "lines.jsonl"
    script.write_text(PIECES.format(gpu=str(GPU)))
    done = subprocess.run(
        [sys.executable, script, "--dry-run", "--lines", lines, "--still", "5"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    answers = {line["piece"]: (line["ok"], line["said"]) for line in found if "piece" in line}
    assert answers == {
        "first": (True, "said"),
        "rows": (False, "RuntimeError: no times of raises"),
        "raises": (False, "ValueError: for a reason"),
        "breaks": (False, "RuntimeError: an illegal memory access was encountered"),
        "lacks": (False, "ModuleNotFoundError: No module named 'no_such'"),
        "dies": (False, "its process ended with exit code 9"),
        "stands": (False, "stood still for 5 s and was ended"),
        "last": (True, ""),
    }
    rows = {line["row"]: line for line in found if "row" in line}
    assert rows["raises"]["error"].startswith("ZeroDivisionError") and "median" in rows["goes on"]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["check.py", "bench.py"])
def test_the_scripts_alone_say_so_too(script, tmp_path):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, GPU / script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "no CUDA device" in done.stderr


# The parts ------------------------------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch):
    """Imports a file of scripts/gpu, as long as the test lasts."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(GPU))
    yield __import__
    for name in set(sys.modules) - before:
        if (GPU / f"{name}.py").exists():
            del sys.modules[name]


def package(folder, init):
    (folder / "skn" / "_native").mkdir(parents=True)
    (folder / "skn" / "_native" / "libskn_cuda.so").write_text("")
    (folder / "skn" / "__init__.py").write_text(init)
    (folder / "skn" / "ops").mkdir()
    (folder / "skn" / "ops" / "__init__.py").write_text("")
    (folder / "skn" / "ops" / "backends.py").write_text(
        "TABLE = {'tau': 0}\ndef implementation(op, device): return device\n"
    )


def test_a_cuda_library_that_ends_the_import_is_removed(gpu, tmp_path, capsys):
    install = gpu("install")
    library = tmp_path / install.LIBRARY
    package(tmp_path, "import os, pathlib\nif list(pathlib.Path(__file__).parent.rglob('*.so')): os.abort()\n")
    assert install.imported(tmp_path, "cuda") == ({"tau": "cuda"}, False)
    assert not library.exists() and "libskn_cuda.so is removed" in capsys.readouterr().out
    assert install.imported(tmp_path, "cuda") == ({"tau": "cuda"}, True)


def test_a_cuda_library_that_loads_stays(gpu, tmp_path):
    install = gpu("install")
    package(tmp_path, "")
    assert install.imported(tmp_path, "cuda") == ({"tau": "cuda"}, True) and (tmp_path / install.LIBRARY).exists()


@pytest.mark.slow
@pytest.mark.parametrize("setup", ["raise SystemExit('no')", "import time; time.sleep(600)"])
def test_a_build_that_fails_or_takes_too_long_leaves_the_python_files(gpu, tmp_path, setup):
    install, root = gpu("install"), tmp_path / "root"
    for name in ("csrc", "kernels", "skn"):
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text("")
    (root / "setup.py").write_text(setup)
    (root / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "setuptools.build_meta"\n')
    (root / "LICENSE").write_text("")
    assert install.build(root, tmp_path / "installed", limit=10) is False
    assert (tmp_path / "installed" / "skn" / "kernels" / "__init__.py").exists()


def test_an_old_setuptools_is_told(gpu):
    facts = gpu("facts")
    known = dict.fromkeys([*facts.NEEDED, *facts.WANTED, "nvcc"], "100.1")
    assert facts.warnings(known) == []
    (line,) = facts.warnings(known | {"setuptools": "70.2.0"})
    assert "setuptools 70.2.0 is older than 77" in line
    assert "no nvcc" in facts.warnings(known | {"nvcc": None})[0]


def test_a_package_that_is_missing_is_told_with_what_fails(gpu):
    facts = gpu("facts")
    known = dict.fromkeys([*facts.NEEDED, *facts.WANTED, "nvcc"], "100.1")
    told = {name: facts.warnings(known | {name: None}) for name in (*facts.NEEDED, *facts.WANTED)}
    assert all(len(lines) == 1 and f"{name} is not installed: " in lines[0] for name, lines in told.items())
    assert told["transformers"][0].endswith(": most steps will fail")
    assert told["setuptools"][0].endswith(": the build will fail")


def test_lines_become_a_record_of_each_device(gpu, tmp_path):
    lines = gpu("lines")
    text = [
        {"step": "quick/facts", "facts": {"device": "A"}},
        {"step": "quick/build", "serves": {"tau": "eager"}},
        {"step": "quick/bench", "row": "copy", "median": 2},
        {"step": "quick/bench", "row": "copy", "median": 3},
        {"step": "quick/bench", "row": "tau", "error": "no"},
        {"step": "quick/bench", "piece": "copy", "ok": True},
        {"step": "quick/bench", "outcome": "ok", "seconds": 4, "limit": 5},
        {"step": "full/facts", "facts": {"device": "B/2"}},
    ]
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in text) + '{"step": "quick/ben')
    devices = lines.assemble(lines.parse(path.read_text()))
    assert devices["A"]["runs"]["quick"] == {
        "facts": {"device": "A"},
        "serves": {"tau": "eager"},
        "steps": {"bench": {"outcome": "ok", "seconds": 4, "limit": 5}},
        "pieces": {"bench": {"copy": {"ok": True}}},
        "rows": {"copy": {"median": 3}, "tau": {"error": "no"}},
        "aims": [],
    }
    assert list(devices["B/2"]["runs"]) == ["full"]
    subprocess.run([sys.executable, GPU / "lines.py", path, "--out", tmp_path / "out"], check=True)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["A.json", "B-2.json"]


def test_aims_are_compared_with_the_rows_of_one_run(gpu):
    aims = gpu("aims")
    passes = {"median": 30.0, "in a row": 10.0}
    rows = {
        "pruned encoder, 32 × 56, bfloat16, torch.compile": {"median": 90.0, "in a row": 26.0},
        "pruned encoder, 32 × 56, bfloat16, skn": passes,
        "pruned encoder, 32 of SST-2's lengths, at most 56, bfloat16, skn": {"error": "no"},
        "original, 32 × 56, float32, host copies": {"median": 1500.0},  # only by itself
        "probe, 32 × 56, bfloat16, skn": passes,
        "kendall_tau, 36,864 × 14, n = 351": {"median": 4321.0},
        "ffn_pruned, 16,384 rows, 61 neurons, operator": {"median": 1.0, "of copy": 0.8},
    }
    found = {aim["what"]: (aim.get("ratio", aim.get("value")), aim["aim"]) for aim in aims.reached(rows)}
    assert found == {
        "pruned encoder, 32 × 56, bfloat16, torch.compile / pruned encoder, 32 × 56, bfloat16, skn": (2.6, "≥ 1.3"),
        "original, 32 × 56, float32, host copies / probe, 32 × 56, bfloat16, skn": (50.0, "≥ 50"),
        "kendall_tau, 36,864 × 14, n = 351: median": (4321.0, "≤ 5000 µs"),
        "ffn_pruned, 16,384 rows, 61 neurons, operator: of copy": (0.8, "≥ 0.75"),
    }


@pytest.mark.slow
def test_a_record_of_a_gpu_is_none_of_the_report(gpu, tmp_path):
    (tmp_path / "A.json").write_text(json.dumps(gpu("lines").assemble([{"step": "quick/bench", "row": "copy"}])))
    command = [sys.executable, GPU.parents[1] / "bench" / "report.py", tmp_path / "A.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no results" in done.stderr, done.stderr


def test_the_build_for_one_device_names_it_and_leaves_the_cpu_out(tmp_path):
    """With a compiler and a torch that are only there."""
    torch = tmp_path / "path" / "torch"
    for file in (
        torch / "__init__.py",
        torch / "lib" / "libtorch_cuda.so",
        torch / "include/torch/csrc/stable/library.h",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "path" / "torch-2.11.0.dist-info").mkdir()
    (tmp_path / "path" / "torch-2.11.0.dist-info" / "METADATA").write_text("Name: torch\nVersion: 2.11.0+cu130\n")
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nfor last; do :; done\ncase $last in *.tmp) : >$last ;; esac\necho nvcc\n'
    )
    nvcc.chmod(0o755)
    variables = {"PYTHONPATH": tmp_path / "path", "CUDACXX": nvcc, "SKN_BUILD": "cuda", "SKN_CUDA_ARCH": "90"}
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", tmp_path / "base", "--build-lib", tmp_path]
    env = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    done = subprocess.run(command, cwd=GPU.parents[1], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "skn" / "_native" / "build.json").read_text())
    assert record["reason"] == "SKN_BUILD=cuda" and record["cuda"].startswith("libskn_cuda.so built with nvcc")
    asked = (tmp_path / "asked").read_text()
    assert "-gencode=arch=compute_90,code=sm_90 " in asked and asked.count("-gencode") == 1 and "--threads=4" in asked


def test_a_check_that_does_not_reach_its_kernel_fails(gpu):
    pytest.importorskip("triton")
    reached, checks = gpu("reached"), gpu("checks_ffn")
    from skn.kernels import ffn_pruned

    for *_, hidden, neurons in checks.SIZES[: -checks.REFUSED]:
        assert hidden <= ffn_pruned.MAX_HIDDEN and neurons <= ffn_pruned.MAX_NEURONS
    assert gpu("checks_encoder").MOST_NEURONS == ffn_pruned.MAX_NEURONS
    with (
        pytest.raises(AssertionError, match="one_kernel was launched 0 times and not 1"),
        reached.launched("cuda", "ffn_pruned", "one_kernel", 1),
    ):
        pass
    with pytest.raises(AssertionError, match="served by eager, so that no kernel of skn was reached"):
        reached.served("kendall_tau", "cuda", "cuda c++")


class Device:
    """``torch.cuda`` as far as timing asks for it: 1/128 ms a call, and a name for the current stream."""

    def __init__(self, refuses):
        self.refuses, self.now, self.capturing, self.current = refuses, 0.0, None, "default"

    def call(self, _):
        if self.capturing is None:
            self.now += 1 / 128
        elif self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        else:
            self.capturing.calls += 1

    def patch(self, monkeypatch, torch):
        own = self

        class Graph:
            calls = 0

            def replay(self):
                own.now += self.calls / 128

        class Capture:
            def __init__(self, graph):
                self.graph = graph

            def __enter__(self):
                own.capturing, own.current = self.graph, "capture"

            def __exit__(self, kind, *_):
                own.capturing = None
                if kind is None:  # a failed capture leaves the thread where it is
                    own.current = "default"

        class Stream:
            def wait_stream(self, _):
                pass

            def __enter__(self):
                pass

            def __exit__(self, *_):
                pass

        class Event:
            def __init__(self, enable_timing):
                pass

            def record(self):
                self.at = own.now

            def synchronize(self):
                pass

            def elapsed_time(self, end):
                return end.at - self.at

        stream = Stream()
        patches = {"CUDAGraph": Graph, "graph": Capture, "Stream": Stream, "Event": Event, "stream": lambda s: s}
        patches |= {"current_stream": lambda: stream, "synchronize": lambda: None}
        patches["set_stream"] = lambda s: setattr(own, "current", "default" if s is stream else "?")
        for name, value in patches.items():
            monkeypatch.setattr(torch.cuda, name, value)


def test_a_kernel_is_timed_by_a_graph_of_many_calls(gpu, monkeypatch):
    timing = gpu("timing")
    device = Device(refuses=False)
    device.patch(monkeypatch, timing.torch)
    row = timing.by_graph(device.call, 4)
    assert row["median"] == 7.812 and row["by"] == "graph of 256 calls" and row["sets"] == 4


def test_what_cannot_be_captured_is_timed_by_events_and_says_so(gpu, monkeypatch):
    timing = gpu("timing")
    device = Device(refuses=True)
    device.patch(monkeypatch, timing.torch)
    row = timing.by_graph(device.call, 4)
    assert row["median"] == 7.812 and row["by"] == "events around 4 calls"
    assert row["why"] == "operation not permitted when stream is capturing" and device.current == "default"
