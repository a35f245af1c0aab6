"""``import skn`` and all that a command line answers without work import none of the large libraries."""

from __future__ import annotations

import ast
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import REPOSITORY

import skn
from skn.commands import app

LARGE = ("torch", "transformers", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "datasets", "jinja2", "ray")
COMMANDS = [command.name or command.callback.__name__.rstrip("_") for command in app.registered_commands]

ANSWERED = [
    [],
    ["--help"],
    ["--version"],
    ["tasks"],
    ["tasks", "--json"],
    *([command, "--help"] for command in COMMANDS),
]
REFUSED = [
    ["trian"],
    ["--colour"],
    ["train", "--speed", "3", "--out", "r"],
    ["train", "--backbone", "b"],
    ["train", "--out", "r"],
    ["train", "--backbone", "b", "--out", "r", "--epochs", "many"],
    ["train", "--backbone", "b", "--out", "r", "--task", "sst3"],
    ["train", "--backbone", "b", "--out", "r", "--data", "missing.toml"],
    ["probe"],
    ["mask"],
    ["export", "--run", "r"],
    ["mask", "--run", "r", "--kind", "blur"],
    ["mask", "--sweep", "s"],
    ["mask", "--sweep", "s", "--sets", "t", "--alpha", "1"],
    ["select", "--rsa", "f"],
    ["activate", "--run", "r", "--csv", "c"],
    ["sweep", "--out", "s"],
    ["sweep", "--out", "s", "--tasks", "nothing/*"],
    ["report"],
    ["binarize", "--task", "sst3", "--out", "b"],
    ["tasks", "--quiet", "--verbose"],
    ["activate", "--run", "r", "--neuron", "nine"],
    ["select", "--run", "r", "--contrast", "1"],
    ["select", "--rsa", "f", "--top", "few", "--out", "s"],
    ["mask", "--run", "r", "--fraction", "1:0:x"],
    ["mask", "--sweep", "s", "--sets", "t", "--top", "few"],
    ["prune", "--run", "r", "--layers", "3"],
    ["sweep", "--out", "s", "--seeds", "one"],
    ["rsa", "--attributes", "a.csv", "--shape", "12"],
    ["import", "f", "--out", "o", "--shape", "12"],
]

# Runs command lines one after another and says after each which large libraries are there.
LOADS = """
import contextlib, io, json, sys
from skn.cli import main
found = []
for line in json.loads(sys.argv[1]):
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main(line)
    except SystemExit as exit_:
        code = exit_.code
    found.append([line, code, [name for name in json.loads(sys.argv[2]) if name in sys.modules]])
print(json.dumps(found))
"""


def python(code: str, *arguments: str, folder: Path | None = None) -> str:
    """What a new process prints."""
    line = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_large_is_imported(tmp_path):
    lines = ANSWERED + REFUSED
    found = json.loads(python(LOADS, json.dumps(lines), json.dumps(LARGE), folder=tmp_path))
    for line, code, loaded in found:
        assert not loaded, f"skn {' '.join(line)}: imports {', '.join(loaded)}"
        assert code == (0 if line in ANSWERED[1:] else 2), f"skn {' '.join(line)}: exit code {code}"
    assert len(found) == len(lines) and len(COMMANDS) >= 15 and not list(tmp_path.iterdir())


def test_python_m_skn(tmp_path):
    for line in ("--version", "trian"):
        done = subprocess.run(
            [sys.executable, "-m", "skn", line], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        expected = (0, f"skn {skn.__version__}\n", "") if line == "--version" else (2, "", done.stderr)
        assert (done.returncode, done.stdout, done.stderr) == expected
    assert done.stderr == "skn: No such command 'trian'. Did you mean 'train'? (see 'skn --help')\n"


# ---- the names of the package ----------------------------------------------------------------------------------


def test_every_name_is_there_and_told():
    assert set(skn.__all__) <= set(dir(skn)) and len(set(skn.__all__)) == len(skn.__all__)
    for name in skn.__all__:
        assert getattr(skn, name) is not None
    assert skn.PrunedRobertaForMaskedLM is importlib.import_module("skn.pruned.modeling").PrunedRobertaForMaskedLM
    with pytest.raises(AttributeError, match="module 'skn' has no attribute 'prun'"):
        skn.prun  # noqa: B018


def test_editors_see_the_names_that_python_finds():
    tree = ast.parse((REPOSITORY / "skn" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: line.module for line in block.body for alias in line.names}
    assert seen == skn._HOMES


def test_import_skn_imports_nothing_large():
    code = "import sys, skn; print([name for name in sys.argv[1:] if name in sys.modules])"
    assert python(code, *LARGE) == "[]\n"


# ---- pruned folders and the Auto classes -----------------------------------------------------------------------

ORDERS = {
    "skn first": "import skn; from transformers import AutoModelForSequenceClassification as Auto",
    "transformers first": "import transformers, skn; Auto = transformers.AutoModelForSequenceClassification",
    "the Auto class first": "from transformers import AutoModelForSequenceClassification as Auto; import skn",
}
# Runs each code in a fork of a process that imported only what both need: neither transformers nor skn is there yet.
FORKED = """
import json, os, sys, traceback
import scipy.optimize, scipy.stats, torch, torch._dynamo, torch.distributed.tensor, torch.utils.data
codes, said = json.loads(sys.argv[1]), {}
for name, (code, *arguments) in codes.items():
    reading, writing = os.pipe()
    if not os.fork():
        os.dup2(writing, 1), os.close(reading), os.close(writing)
        assert not {"skn", "transformers"} & set(sys.modules)
        sys.argv[1:] = arguments
        try:
            exec(code, {})
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        said[name] = file.read()
    os.wait()
print(json.dumps(said))
"""
LOAD = """
import os, sys
for folder in sys.argv[1:]:
    model = Auto.from_pretrained(folder)
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer, pipeline
    print(os.path.basename(folder), type(model).__name__, type(AutoModelForMaskedLM.from_pretrained(folder)).__name__, end=" ")
    print(AutoConfig.from_pretrained(folder).model_type, end=" ")
    print(pipeline("text-classification", folder)("the film is funny")[0]["label"] in ("bad", "good"))
"""


@pytest.fixture(scope="module")
def pruned_folder(tiny, tmp_path_factory) -> str:
    import torch

    from skn.model.backbone import Backbone
    from skn.model.pretrained import load_tokenizer
    from skn.model.tuned import TunedModel
    from skn.pruned.pruning import prune

    folder = str(tmp_path_factory.mktemp("pruned"))
    tokenizer = load_tokenizer(str(tiny("roberta")))
    model = TunedModel.fresh(Backbone.load(str(tiny("roberta"))), [7, 200], tokenizer.mask_token_id, 4, "prompt")
    keep = torch.zeros(3, 48, dtype=torch.bool)
    keep[:, :10] = True
    prune(model, keep, torch.zeros(3, 48, dtype=torch.float64), ["bad", "good"]).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


EXPECTED = "PrunedRobertaForPromptClassification PrunedRobertaForMaskedLM skn_pruned_roberta True"


@pytest.fixture(scope="module")
def loaded(pruned_folder, tmp_path_factory) -> dict[str, str]:
    """What a process of each order of imports prints. The first also loads the folder of an older version."""
    older = Path(shutil.copytree(pruned_folder, tmp_path_factory.mktemp("of") / "older"))
    stored = json.loads((older / "config.json").read_text())
    (older / "config.json").write_text(json.dumps({**stored, "model_type": "pruned_roberta"}))
    codes = {order: [f"{imports}\n{LOAD}", pruned_folder] for order, imports in ORDERS.items()}
    codes["skn first"].append(str(older))
    return json.loads(python(FORKED, json.dumps(codes)))


@pytest.mark.parametrize("order", ORDERS)
def test_the_auto_classes_load_a_pruned_folder(loaded, pruned_folder, order):
    assert f"{Path(pruned_folder).name} {EXPECTED}" in loaded[order].splitlines(), loaded[order]


def test_a_folder_of_an_older_version_loads(loaded):
    """Its model type did not name skn yet."""
    assert f"older {EXPECTED}" in loaded["skn first"].splitlines(), loaded["skn first"]


def test_without_skn_the_error_names_it(pruned_folder):
    code = "from transformers import AutoModelForSequenceClassification as Auto\n"
    code += "try:\n    Auto.from_pretrained(__import__('sys').argv[1])\nexcept ValueError as error:\n    print(error)"
    assert "model type `skn_pruned_roberta`" in python(code, pruned_folder)
