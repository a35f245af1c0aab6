"""Pruned models as modules: fast where no gradient is asked for, ordinary everywhere else."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from pruned_models import SERVED, TEXTS, logits, pruned
from transformers import AutoModelForMaskedLM

from skn.ops import native


@pytest.fixture(autouse=True)
def library():
    if native.isa() is None:
        pytest.skip("no native library")


@pytest.mark.parametrize("family", SERVED)
def test_classification_without_gradients(tiny, calls, family):
    model, inputs, _ = pruned(tiny(family))
    plain = logits(model, inputs)
    assert not calls
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            torch.testing.assert_close(logits(model, inputs), plain, rtol=1e-5, atol=1e-5)
    assert len(calls) == 2


@pytest.mark.parametrize("family", SERVED)
def test_masked_lm_without_gradients(tiny, calls, family, tmp_path):
    small, inputs, _ = pruned(tiny(family))
    small.save_pretrained(tmp_path)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path)
    plain = logits(model, inputs)
    with torch.inference_mode():
        fast = logits(model, inputs)
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(fast[real], plain[real], rtol=1e-5, atol=2e-5)
    assert len(calls) == 1
    with torch.inference_mode():
        assert model(**inputs, output_hidden_states=True).hidden_states is not None
    assert len(calls) == 1  # hidden states of all layers: the plain forward has them
    with torch.inference_mode():
        torch.testing.assert_close(logits(model, inputs), fast)
    assert len(calls) == 2  # the hooks that transformers left on the model for them are idle


@torch.inference_mode()
@pytest.mark.parametrize("family", ["roberta", "bert", "electra", "distilbert"])
def test_a_text_alone_is_not_gathered(tiny, calls, family, tmp_path, monkeypatch):
    """Without padding, its rows lie as ``encode`` reads them, and the answer is that of the padded batch."""
    model, inputs, tokenizer = pruned(tiny(family))
    model.save_pretrained(tmp_path)
    masked = AutoModelForMaskedLM.from_pretrained(tmp_path)
    expected = logits(model, inputs), logits(masked, inputs)
    monkeypatch.setattr(torch.Tensor, "nonzero", lambda _: pytest.fail("the places of the tokens were looked up"))
    for row, text in enumerate(TEXTS):
        alone = dict(tokenizer([text], return_tensors="pt"))
        columns = alone["input_ids"].shape[1]
        torch.testing.assert_close(logits(model, alone)[0], expected[0][row], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(logits(masked, alone)[0], expected[1][row, :columns], rtol=1e-5, atol=2e-5)
    assert len(calls) == 2 + 2 * len(TEXTS)


def test_the_pipeline_is_fast(tiny, calls, tmp_path):
    from transformers import pipeline

    model, _, tokenizer = pruned(tiny("roberta"))
    answers = pipeline("text-classification", model=model, tokenizer=tokenizer)(TEXTS)
    assert [a["label"] in ("bad", "good") for a in answers] == [True] * 3 and calls


def test_an_optimizer_step_shows_at_once(tiny):
    model, inputs, _ = pruned(tiny("roberta"))
    with torch.inference_mode():
        before = logits(model, inputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model(**inputs, labels=torch.tensor([0, 1, 0])).loss.backward()
    optimizer.step()
    with torch.inference_mode():
        after = logits(model, inputs)
    torch.testing.assert_close(after, logits(model, inputs), rtol=1e-5, atol=1e-5)
    assert (after - before).abs().max() > 1e-4


@pytest.mark.parametrize("edit", ["one number", "a neuron", "signs", "rows"])
def test_edits_through_data_show_at_once(tiny, calls, edit):
    model, inputs, _ = pruned(tiny("roberta"))
    with torch.inference_mode():
        before = logits(model, inputs)
        weight = model.roberta.encoder.layer[1].output.dense.weight.data
        if edit == "one number":
            weight[3, 5] = 7
        elif edit == "a neuron":
            weight[:, 4] = 0
        elif edit == "signs":
            weight.neg_()
        else:
            weight[[0, 1]] = weight[[1, 0]]
        after = logits(model, inputs)
    assert len(calls) == 2 and (after - before).abs().max() > 1e-4
    torch.testing.assert_close(after, logits(model, inputs), rtol=1e-5, atol=1e-5)


def test_other_dtypes_and_training_run_plain(tiny, calls):
    model, inputs, _ = pruned(tiny("roberta"))
    with torch.inference_mode():
        logits(model.double(), inputs)
        logits(model.float().train(), inputs)
        with torch.autocast("cpu", torch.bfloat16):
            logits(model.eval(), inputs)
        assert not calls
        assert logits(model.to(torch.bfloat16), inputs).dtype == torch.bfloat16
    assert len(calls) == 1


def test_bf16x3_is_an_attribute_of_the_model(tiny, calls):
    model, inputs, _ = pruned(tiny("roberta"))
    with torch.inference_mode():
        plain = logits(model, inputs)
        model.bf16x3 = True
        found = logits(model, inputs)
    assert 1e-7 < (found - plain).abs().max() / plain.abs().max() < 5e-5
    assert len(calls) == 2
    assert torch.equal(logits(model, inputs), logits(pruned(tiny("roberta"))[0], inputs))  # with gradients: float32


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("replaced", [False, True], ids=["module", "replaced module"])
def test_a_later_hook_is_honoured_while_it_hangs(tiny, calls, register, replaced):
    model, inputs, _ = pruned(tiny("roberta"))
    seen = []
    with torch.inference_mode():
        before = logits(model, inputs)
        layer = model.roberta.encoder.layer[1]
        if replaced:
            layer.output.dense = copy.deepcopy(layer.output.dense)
        handle = getattr(layer.output.dense, register)(lambda *_: seen.append(1))
        torch.testing.assert_close(logits(model, inputs), before, rtol=1e-5, atol=1e-5)
        assert (len(calls), len(seen)) == (1, 1)
        handle.remove()
        assert torch.equal(logits(model, inputs), before)
        assert (len(calls), len(seen)) == (2, 1)


def test_compile_and_export_trace_the_plain_weights(tiny, calls):
    model, inputs, _ = pruned(tiny("roberta"))
    plain = logits(model, inputs)
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager")
        torch.testing.assert_close(logits(compiled, inputs), plain, rtol=1e-5, atol=1e-5)
        program = torch.export.export(model, (), inputs)
    torch.testing.assert_close(program.module()(**inputs).logits, plain, rtol=1e-5, atol=1e-5)
    assert not calls and not [n for n in program.graph.nodes if "skn" in str(n.target)]


def test_threads_share_one_model(tiny):
    model, inputs, _ = pruned(tiny("roberta"))

    def answer(_):
        with torch.inference_mode():
            return logits(model, inputs)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer, range(16)))
    assert all(torch.equal(a, answers[0]) for a in answers)
