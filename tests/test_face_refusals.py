"""The Python face beyond its examples: whose numbers it uses, what it leaves alone, what it refuses and in which words."""

import copy

import pytest
import torch
from tables import write_tsv

import skn

WORDS = ["negative", "positive"]
SMALL = {"prompt_length": 4, "epochs": 0, "batch_size": 16}


@pytest.fixture(scope="module")
def data(corpus_folder):
    return skn.load_data(corpus_folder)


@pytest.fixture(scope="module")
def backbone(tiny):
    return str(tiny("roberta"))


@pytest.fixture(scope="module")
def runs(backbone, data):
    return [skn.tune(backbone, data, WORDS, seed=seed, **SMALL) for seed in (0, 1)]


@pytest.fixture(scope="module")
def probes(runs):
    return [skn.probe(run) for run in runs]


@pytest.fixture(scope="module")
def ranking(probes):
    return skn.rank(probes[0])


def test_a_mean_is_that_of_the_run(runs, probes, ranking):
    """A ranking of another seed, or of several, brings no means of a prompt that is not this run's."""
    own = skn.prune(runs[0], ranking, count=5)
    given = skn.prune(runs[0], ranking, count=5, thresholds=probes[0].moments["prompt"].threshold())
    assert all(torch.equal(a, b) for a, b in zip(own.state_dict().values(), given.state_dict().values(), strict=True))
    for other in (ranking, skn.rank(probes)):
        with pytest.raises(skn.InputError, match="in memory alone and has no file of moments"):
            skn.prune(runs[1], other, count=5)


def test_the_means_of_a_pooled_probe_are_the_runs_own(runs):
    ranking = skn.rank(skn.probe(runs[0], at=["prompt", "mean"]))
    assert skn.prune(runs[0], ranking, count=5).config.ffn_widths == [5, 5, 5]


def test_pooling_is_read_by_the_forward_that_can(runs):
    found = skn.probe(runs[0], at=["prompt", "mean"])
    assert found.accuracy("test", "mean").shape == (1, 3, 1, 48) and found.provenance["engine"] == "hf"


def test_a_probe_goes_on_with_its_own_files_only(runs, tmp_path):
    skn.probe(runs[0], out=tmp_path)
    with pytest.raises(skn.InputError, match="was started with seed 0, not 1"):
        skn.probe(runs[1], out=tmp_path, resume=True)


def test_evaluation_leaves_the_model_as_it_is(runs, ranking):
    small = skn.prune(runs[0], ranking, count=5).train()
    before = copy.deepcopy(small.state_dict())
    assert [row["name"] for row in skn.evaluate(runs[0], small).models] == ["full", "pruned"]
    assert small.training and all(torch.equal(before[name], tensor) for name, tensor in small.state_dict().items())


def test_the_best_neurons_exist(backbone, data, runs, ranking, tmp_path):
    skn.prune(runs[0], ranking, count=5, out=tmp_path / "small")
    again = skn.tune(str(tmp_path / "small"), data, WORDS, **SMALL)
    best = skn.rank(skn.probe(again)).best(1000)
    assert len(best) == 15 and all(again.model.backbone.present[neuron] for neuron in best)


def test_a_task_file_has_columns_and_words(backbone, tmp_path):
    rows = [(f"text {i}", "ab"[i % 2]) for i in range(60)]
    write_tsv(tmp_path / "rows.tsv", ["said", "mark"], rows)
    (tmp_path / "task.toml").write_text(
        'data = "rows.tsv"\ntext_column = "said"\nlabel_column = "mark"\nverbalizer = "negative,positive"\n'
    )
    data = skn.load_data(tmp_path / "task.toml")
    assert data.classes == ["a", "b"] and data.words == WORDS
    assert skn.tune(backbone, data, **SMALL).label_words == WORDS


def test_what_is_made_can_be_read(runs, probes, ranking):
    table = skn.mask(runs[0], ranking, 0.1, controls=0)
    for thing in (runs[0], runs[0].data, probes[0], ranking, table, skn.activate(runs[0], (2, 7))):
        assert 0 < len(repr(thing)) < 3000 and "tensor(" not in repr(thing)
    assert "validation accuracy" in repr(runs[0]) and "95%: 0." in repr(runs[0])


REFUSED = {
    "method": (lambda f: skn.tune(f.backbone, f.data, WORDS, method="prefix"), 'method="prefix": expected prompt, bitfit'),
    "dtype": (lambda f: skn.tune(f.backbone, f.data, WORDS, dtype="fp32"), 'dtype="fp32": expected float32'),
    "epochs": (lambda f: skn.tune(f.backbone, f.data, WORDS, epochs=1.5), "epochs=1.5: a whole number, 0 or more"),
    "batch": (lambda f: skn.tune(f.backbone, f.data, WORDS, batch_size=0), "batch_size=0: a whole number, 1 or more"),
    "data": (lambda f: skn.tune(f.backbone, "folder", WORDS), "data: expected what skn.load_data returns, not str"),
    "aggregate": (lambda f: skn.rank(f.probe, aggregate="max"), 'aggregate="max": expected mean, min'),
    "by": (lambda f: skn.rank(f.probe, by="accuracy"), 'by="accuracy": expected predictivity, plain'),
    "nothing ranked": (lambda f: skn.rank([]), "give what skn.probe returns"),
    "a run ranked": (lambda f: skn.rank(f.run), "give what skn.probe returns"),
    "contrasts": (lambda f: skn.rank(f.probe, contrasts=["1:0"]), "skn.Contrast"),
    "match": (lambda f: skn.mask(f.run, f.ranking, 0.1, match="layers"), 'match="layers": expected layer, overall, activity; did you mean'),
    "split": (lambda f: skn.mask(f.run, f.ranking, 0.1, split="tset"), 'split="tset": expected train, validation, test; did you'),
    "layers": (lambda f: skn.mask(f.run, f.ranking, 0.1, layers=[0, 1]), "layers=[0, 1]: expected a range"),
    "neurons": (lambda f: skn.mask(f.run, f.probe, 0.1), "expected what skn.rank returns, or a file, not Probe"),
    "alpha": (lambda f: skn.mask(f.run, f.ranking, 0.1, alpha=0.5), 'alpha=0.5: goes with kind="gaussian" or scale'),
    "no fractions": (lambda f: skn.mask(f.run, f.ranking, []), "fraction: no share is given"),
    "controls": (lambda f: skn.mask(f.run, f.ranking, 0.1, controls=1.5), "controls=1.5"),
    "best": (lambda f: f.ranking.best(-1), "best: -1 neurons"),
    "a neuron": (lambda f: skn.activate(f.run, ["bset"]), 'neurons="bset": expected (layer, neuron)'),
    "a model": (lambda f: skn.evaluate(f.run, f.run.model), "expected what skn.prune or skn.export returns"),
    "engine": (lambda f: skn.open_run(f.kept, engine="turbo"), 'engine="turbo": expected hf, fast'),
    "permutations": (lambda f: skn.searchlight("a", "b", permutations=-1), "permutations=-1"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name, backbone, data, runs, probes, ranking, tmp_path_factory):
    kept = tmp_path_factory.mktemp("kept") / "run"
    if name == "engine":
        skn.tune(backbone, data, WORDS, out=kept, **SMALL)
    given = {"backbone": backbone, "data": data, "run": runs[0], "probe": probes[0], "ranking": ranking, "kept": kept}
    call, words = REFUSED[name]
    with pytest.raises(skn.InputError) as refusal:
        call(type("Given", (), given))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_options_and_names_exclude_each_other(runs, ranking):
    with pytest.raises(TypeError, match="not both"):
        skn.mask(runs[0], ranking, 0.1, options=skn.MaskOptions(), kind="mean")
