"""The fixtures of every wing, and small data sets. support/ holds their parts."""

from __future__ import annotations

from pathlib import Path

import environment  # noqa: F401  before torch is loaded
import pytest
from captures import captures  # noqa: F401  fixture
from foreign_files import accuracy, out, thresholds  # noqa: F401  fixtures
from garbage import pytest_collection_finish, pytest_unconfigure  # noqa: F401  hooks
from int8_models import int8_run  # noqa: F401  fixture
from levels import level  # noqa: F401  fixture
from masked_sweeps import masked_sweep, own_sweep, sweep_with_sets  # noqa: F401  fixtures
from order import pytest_collection_modifyitems  # noqa: F401  hook
from pruned_models import calls  # noqa: F401  fixture
from refusals import quiet_exit, refused  # noqa: F401  fixtures
from spoiled import run, runs  # noqa: F401  fixtures
from statistics_cases import statistics  # noqa: F401  fixture
from swept import emotions, sweep_arguments  # noqa: F401  fixtures
from tables import write_tsv
from tiny_models import tiny  # noqa: F401  fixture
from trainings import ctrl_c, made_trainers, one_thread, request_for  # noqa: F401  fixtures

import skn  # noqa: F401  registers the pruned models
from skn.data import corpus


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory) -> Path:
    """A small split of the built-in corpus: columns text, label."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = corpus.generate(seed=1, size=240)
    for name, part in (("train", rows[:160]), ("validation", rows[160:200]), ("test", rows[200:])):
        write_tsv(folder / f"{name}.tsv", ["text", "label"], part)
    return folder


@pytest.fixture(scope="session")
def minilm() -> str:
    """Return the folder of the real encoder. It comes with the extra "demo", which make test installs, too."""
    from skn.stages.demo import demo_backbone

    return str(demo_backbone())
