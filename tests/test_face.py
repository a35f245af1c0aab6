"""The Python face: the example of every function runs, in the order in which a user meets them, and writes nothing."""

import doctest

import pytest
from searchlight_files import foreign, rated

import skn

ORDER = (
    "load_data",
    "tune",
    "open_run",
    "probe",
    "rank",
    "compare",
    "mask",
    "off_target",
    "off_target_over_seeds",
    "activate",
    "exemplars",
    "prune",
    "pruned_model",
    "stock_model",
    "export",
    "predict",
    "evaluate",
    "searchlight",
)


@pytest.fixture(scope="module")
def known(tiny, corpus_folder, tmp_path_factory):
    """What the examples take as given; each adds what it makes."""
    folder = tmp_path_factory.mktemp("face")
    return {
        "skn": skn,
        "backbone": str(tiny("roberta")),
        "folder": corpus_folder,
        "out": folder / "run",
        "activations": foreign(folder),
        "ratings": rated(folder),
    }


@pytest.mark.parametrize("name", ORDER)
def test_the_example_of(name, known):
    function = getattr(skn, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=known)
    assert example.examples, f"{name} has no example"
    example.globs = known  # shared: one example goes on from the one before
    said: list[str] = []
    failed, _ = doctest.DocTestRunner().run(example, out=said.append, clear_globs=False)
    assert not failed, "".join(said)
