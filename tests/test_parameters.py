"""Messages outside of the command line have parameters where those of the command line have options."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import is_dataclass

import pytest
import typer
from repository import REPOSITORY

import skn
from skn.cli import run as command
from skn.commands import app
from skn.errors import InputError, SknError
from skn.parameters import FLAGS, NAMES, RENAMED, as_parameters, command_line

MESSAGES = {
    "--resume: out was started with --epochs 3 and not 4": "resume=True: out was started with epochs=3 and not 4",
    "--fraction 2: outside 0 to 1": "fraction=2: outside 0 to 1",
    "--batch-tokens 3": "batch_tokens=3",
    "--engine turbo: expected hf, fast": 'engine="turbo": expected hf, fast',
    "--layers 3:12: empty or out of range": "layers=range(3, 12): empty or out of range",
    "--layers [0, 1]: expected a range": "layers=[0, 1]: expected a range",
    "--count 3,4: 2 numbers for 3 layers": "count=[3, 4]: 2 numbers for 3 layers",
    "--neuron 9,60: outside": "neurons=[9, 60]: outside",
    "--device cuda: no CUDA device; use --device cpu": 'device="cuda": no CUDA device; use device="cpu"',
    "--method bitfit reads the mask alone: it takes --prompt-length 1 and": 'method="bitfit" reads the mask alone: it takes prompt_length=1 and',
    "--init-from runs/a b: holds a prompt run": 'init_from="runs/a b": holds a prompt run',
    "--verbalizer: 'good' is not one token": "words: 'good' is not one token",
    "2 label words; give --verbalizer with one word for each": "2 label words; give words= with one word for each",
    "d.csv: no column 'mood'; see --label-column": "d.csv: no column 'mood'; see label=",
    "d.csv: no labels; --drop-unlabelled leaves them out": "d.csv: no labels; drop_unlabelled=True leaves them out",
    "either --fraction or --count": "either fraction= or count=",
    "choose another --out, or move it away": "choose another out=, or move it away",
    "give --task NAME (see 'skn tasks') or --data FILE": "give task=NAME (see 'skn tasks') or data=FILE",
    "lower --lr or use --dtype float32": 'lower lr= or use dtype="float32"',
    "--alpha 0.5: goes with --kind gaussian": 'alpha=0.5: goes with kind="gaussian"',
    "a user's --lr 0.1; say --lr 1e-3.": "a user's lr=0.1; say lr=1e-3.",
}
KEPT = [
    "runs/a: not a run; 'skn train --out DIR' makes one",
    "--workers 2: needs Ray, or --workers 1",
    "d.csv: label '--lr' and a--lr 3 and --lrs 3",
    "runs/a: exists already",
]


@pytest.mark.parametrize("message", MESSAGES)
def test_options_become_parameters(message):
    error = InputError(message)
    assert str(error) == as_parameters(message) == MESSAGES[message]
    assert str(SknError(str(error))) == MESSAGES[message]  # what is quoted in another message
    with command_line():
        assert str(error) == message
    assert str(error) == MESSAGES[message]


@pytest.mark.parametrize("message", KEPT)
def test_what_is_no_option_of_the_face_stays(message):
    assert as_parameters(message) == message


def _options() -> dict[str, bool]:
    """Every option of every command as a name, and whether it is a flag."""
    commands = typer.main.get_command(app).commands.values()
    options = [p for c in commands for p in c.params if p.opts[0].startswith("--")]
    return {p.opts[0].removeprefix("--").replace("-", "_"): p.is_flag for p in options}


def test_the_tables_are_those_of_the_face_and_of_the_command_line():
    face = [getattr(skn, name) for name in skn.__all__ if name[0] != "_" and not name.startswith("Pruned")]
    parameters = {p for f in face if inspect.isfunction(f) or is_dataclass(f) for p in inspect.signature(f).parameters}
    options = _options()
    ours = {RENAMED.get(name, name) for name in NAMES} | set(RENAMED.values())
    assert ours <= parameters | {"fraction"}
    assert {*NAMES, *RENAMED} - {"fraction", "neurons", "probe"} <= options.keys()
    assert {name for name in options if name in parameters} <= {*NAMES, *RENAMED}, "an option of the face is missing"
    assert set(FLAGS) == {name for name, is_flag in options.items() if is_flag and name in NAMES}


def test_no_message_of_the_source_keeps_an_option_of_the_face():
    """Every text with an option, its variable parts filled in: none is left outside of quoted commands."""
    known = "|".join(name.replace("_", "-") for name in {*NAMES, *RENAMED})
    left = re.compile(rf"(?<![\w'-])--(?:{known})(?![\w-])")
    seen = 0
    for file in sorted((REPOSITORY / "skn").rglob("*.py")):
        if file.parent.name == "commands":
            continue
        raised = [
            n
            for n in ast.walk(ast.parse(file.read_text()))
            if isinstance(n, ast.Call) and "Error" in ast.unparse(n.func)
        ]
        for text in (a for call in raised for a in call.args if isinstance(a, ast.JoinedStr | ast.Constant)):
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            message = "".join(str(p.value) if isinstance(p, ast.Constant) else "3" for p in parts)
            seen += "--" in message
            assert not left.search(re.sub(r"(?<!\w)'[^']*'", "", as_parameters(message))), (file, message)
    assert seen > 60


def test_the_command_line_says_options(tmp_path, capsys):
    with pytest.raises(InputError) as raised:
        skn.load_data(tmp_path / "none.csv")
    assert str(raised.value) == f"{tmp_path / 'none.csv'}: no such file or folder; see data="
    arguments = ["binarize", "--data", str(tmp_path / "none.csv"), "--out", str(tmp_path / "b")]
    assert command(arguments) == 2
    assert capsys.readouterr().err == f"skn: {tmp_path / 'none.csv'}: no such file or folder; see --data\n"
