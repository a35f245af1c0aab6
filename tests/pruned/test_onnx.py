"""``skn prune --onnx``: the file answers as the model does, in any batch, or nothing is written."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from refusals import command, tree
from spoiled import edit
from torch.onnx.errors import OnnxExporterError

from skn.data.splits import Examples
from skn.errors import SknError
from skn.inference.batches import Encoded, tokenize
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.tuned import TunedModel
from skn.pruned import written
from skn.pruned.onnx_export import PACKAGES, compare_onnx, write_onnx
from skn.pruned.pruning import prune
from skn.runs.run import Run

SHORT, LONG = "dull", "although the plot is slow , the ending is wonderful and the cast is charming"
BATCHES = {"one short": [SHORT], "one long": [LONG], "padded": [LONG, SHORT, "the film is funny"] * 3}


@pytest.fixture(scope="module")
def packages() -> None:
    for name in PACKAGES:
        pytest.importorskip(name, reason=f"no {name}: the extra 'onnx' is not installed")


@pytest.fixture(scope="module")
def exported(tiny, by_command, tmp_path_factory):
    """``exported(family, method)``: a pruned model, its tokenizer, and its ONNX file; a layer of three is left whole.

    The file of a BERT with a prompt is that of the command: an export takes four seconds.
    """
    folder = by_command[0] / "pruned"
    bert = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval().requires_grad_(False)
    made: dict[tuple, tuple] = {("bert", "prompt"): (bert, load_tokenizer(str(folder)), folder / "model.onnx")}

    def build(family: str, method: str = "prompt") -> tuple:
        if (family, method) not in made:
            tokenizer, backbone = load_tokenizer(str(tiny(family))), Backbone.load(str(tiny(family)))
            model = TunedModel.fresh(
                backbone, [7, 200], tokenizer.mask_token_id, 4 if method == "prompt" else 1, method
            )
            generator = torch.Generator().manual_seed(3)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
            keep = torch.arange(48).expand(3, 48) < torch.tensor([[5], [48], [31]])
            mean = torch.randn(3, 48, generator=generator, dtype=torch.float64)
            small = prune(model.requires_grad_(False), keep, mean, ["bad", "good"])
            path = tmp_path_factory.mktemp("onnx") / "model.onnx"
            with torch.no_grad():  # where the model would answer through ``encode``, were it not traced
                write_onnx(small, encoded(tokenizer, [LONG]), path)
            made[family, method] = small, tokenizer, path
        return made[family, method]

    return build


def encoded(tokenizer, texts: list[str]) -> Encoded:
    return tokenize(Examples(texts, None, [0] * len(texts)), tokenizer, 50)


def session(path: Path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def answer(path: Path, inputs: dict) -> torch.Tensor:
    return torch.from_numpy(session(path).run(["logits"], {name: t.numpy() for name, t in inputs.items()})[0])


@pytest.mark.parametrize("texts", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("family, method", [("roberta", "prompt"), ("bert", "prompt"), ("bert-headless", "adapter")])
def test_onnxruntime_answers_as_the_model(exported, family, method, texts):
    answers_as_the_model(*exported(family, method), texts)


@pytest.mark.parametrize("family", ["electra", "distilbert"])
def test_it_answers_so_in_families_without_classes_of_their_own(exported, family):
    for texts in BATCHES.values():
        answers_as_the_model(*exported(family), texts)


def answers_as_the_model(model, tokenizer, path, texts):
    for pairs in ((texts,), (texts, texts)):
        inputs = dict(tokenizer(*pairs, padding=True, return_tensors="pt"))
        if not model.backbone.family.encoder.typed:
            del inputs["token_type_ids"]
        assert inputs.keys() == {node.name for node in session(path).get_inputs()}
        expected = model(**inputs).logits.detach()
        torch.testing.assert_close(answer(path, inputs), expected, rtol=1e-5, atol=1e-5)


def test_inputs_are_those_of_tokenizer_and_model(exported):
    for family, types in (("roberta", []), ("bert", ["token_type_ids"])):
        _, _, path = exported(family)
        inputs, outputs = session(path).get_inputs(), session(path).get_outputs()
        assert [node.name for node in inputs] == ["input_ids", "attention_mask", *types]
        assert all(node.shape == ["batch", "sequence"] and node.type == "tensor(int64)" for node in inputs)
        assert [(node.name, node.shape, node.type) for node in outputs] == [("logits", ["batch", 2], "tensor(float)")]


@pytest.mark.parametrize("family", ["roberta", "bert", "bert-headless"])
def test_the_graph_is_standard_and_scores_no_vocabulary(exported, family):
    import onnx

    model, _, path = exported(family, "adapter" if family == "bert-headless" else "prompt")
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    assert {node.domain for node in file.graph.node} == {""} and not file.functions
    inferred = onnx.shape_inference.infer_shapes(file, strict_mode=True, data_prop=True).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.value_info}
    computed, vocabulary = {name for node in file.graph.node for name in node.output}, model.config.vocab_size
    assert computed <= {*shapes, "logits"} and not [name for name in computed if vocabulary in shapes.get(name, [])]
    assert sum(vocabulary in weight.dims for weight in file.graph.initializer) == 1  # tied weights once


def test_the_file_is_a_function_of_the_model(exported, tmp_path):
    """The same bytes again from the model that the folder holds, and nothing of where the code that made it lies."""
    model, tokenizer, path = exported("bert")
    write_onnx(model, encoded(tokenizer, [SHORT]), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    assert b".py" not in path.read_bytes()


@pytest.mark.parametrize("count", [1, 2, 40])
def test_compared_batches(exported, count):
    model, tokenizer, path = exported("roberta")
    rows = encoded(tokenizer, [LONG, SHORT, "the film is funny"][:count] + ["so so"] * (count - 3))
    lengths = [len(ids) for ids in rows.input_ids]
    found = compare_onnx(path, model, rows)
    assert found["batches"] == [[1, min(lengths)], [1, max(lengths)], [min(count, 16), max(lengths)]]
    assert 0 <= found["largest_difference"] < 1e-5


def test_nan_is_no_agreement(exported):
    model, tokenizer, path = exported("roberta")
    model = copy.deepcopy(model)
    torch.nn.init.constant_(model.prompt, torch.nan)
    with pytest.raises(SknError, match="a logit differs by nan, allowed is 1e-04"):
        compare_onnx(path, model, encoded(tokenizer, [SHORT]))


# ---- the command -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tiny, corpus_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "base"
    assert command(["train", "--backbone", tiny("bert"), "--data", corpus_folder, "--out", out, "--epochs", 0]) == 0
    assert command(["probe", "--run", out]) == command(["select", "--run", out]) == 0
    return out


@pytest.fixture(scope="module")
def by_command(packages, base, tmp_path_factory) -> tuple[Path, str]:
    """The run that was pruned with ``--onnx``, and what the command printed; no test writes there."""
    run, printed = shutil.copytree(base, tmp_path_factory.mktemp("pruned") / "run"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert command(arguments(run)) == 0
    return run, printed.getvalue()


@pytest.fixture
def run(base, tmp_path, quiet_exit) -> Path:
    return Path(shutil.copytree(base, tmp_path / "run"))


def arguments(run: Path, *more) -> list:
    return ["prune", "--run", run, "--count", "5,20", "--layers", "1:3", "--onnx", *more]


def test_the_command_writes_and_says_the_difference(by_command):
    run, printed = by_command
    summary = json.loads((run / "prune.json").read_text())
    assert json.loads((run / "pruned" / "skn.json").read_text())["about"]["onnx"] == summary["onnx"]
    (one, short), (two, long), (many, padded) = summary["onnx"]["batches"]
    assert (one, two, many) == (1, 1, 16) and short < long == padded
    assert f"{summary['onnx']['largest_difference']:.1e}" in printed and f"16 × {long}" in printed
    loaded = Run.open(run).load()
    inputs = dict(loaded.tokenizer([SHORT, LONG], padding=True, return_tensors="pt"))
    pruned = Backbone.load(str(run / "pruned")).config
    assert pruned.ffn_widths == [48, 5, 20] and answer(run / "pruned" / "model.onnx", inputs).shape == (2, 2)


def test_without_the_option_there_is_no_file(run):
    assert command([a for a in arguments(run) if a != "--onnx"]) == 0
    assert not (run / "pruned" / "model.onnx").exists() and "onnx" not in json.loads((run / "prune.json").read_text())


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_named_before_any_work(refused, monkeypatch, run, name):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(Run, "load", lambda *_, **__: pytest.fail("loaded the run first"))
    for other in PACKAGES[: PACKAGES.index(name)]:  # so that this one is what is missing here too
        monkeypatch.setitem(sys.modules, other, sys)
    refused(arguments("run"), f"--onnx: {name} cannot be imported", "pip install onnx onnxscript onnxruntime")


def test_reduced_precision_is_refused(packages, refused, run):
    edit(run / "run.json", lambda stored: stored["config"].update(dtype="bfloat16"))
    refused(arguments("run"), "--onnx: writes float32", "run was trained in bfloat16", "--dtype float32")


def _writes_garbage(_model, _encoded, path):
    path.write_bytes(b"no graph")


def _fails(*_, **__):
    """The exporter's own remarks are not for the user: a warning shown here would be an error."""
    warnings.warn("a remark on an axis", stacklevel=1)
    assert not logging.getLogger("torch.onnx._internal.exporter").isEnabledFor(logging.WARNING)
    raise OnnxExporterError("no such operator\nand a long story")


BROKEN = {
    "garbage": (written, "write_onnx", _writes_garbage, "does not run model.onnx"),
    "exporter": (torch.onnx, "export", _fails, "torch.onnx cannot export this model (no such operator)"),
    "other logits": (written, "write_onnx", None, "answers otherwise than the model: a logit differs by"),
}


@pytest.mark.filterwarnings("error:a remark")
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_export_changes_nothing(exported, run, monkeypatch, capfd, case, overwrite):
    """One line, exit code 1; no folder, or the old one as it was."""
    where, name, replacement, phrase = BROKEN[case]
    file = exported("bert-headless", "adapter")[2]  # of another model with the same inputs
    monkeypatch.setattr(where, name, replacement or (lambda _model, _encoded, path: shutil.copy(file, path)))
    if overwrite:
        assert command([a for a in arguments(run) if a != "--onnx"]) == 0
    before = tree(run)
    assert command(arguments(run, *["--overwrite"] * overwrite)) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("skn: ")]
    assert len(lines) == 1 and phrase in lines[0] and "nothing was written" in lines[0], lines
    assert tree(run) == before
