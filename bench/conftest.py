"""Benchmarks: the fixture ``contest`` times contestants in turns, and keeps the result for bench/report.py."""

from __future__ import annotations

import json
from pathlib import Path

import machine
import pytest
import torch
from contest import Contestant, Missing, Work, one_turn, quartiles, ratios
from roofline import least_ms, measured_rates

RESULTS = Path(__file__).parent / "results"
RECORDS = pytest.StashKey[dict]()
RATES = pytest.StashKey[dict]()


def pytest_addoption(parser):
    group = parser.getgroup("skn benchmarks")
    group.addoption("--data", help="folder with train/validation/test.tsv, columns sentence and label (SST-2)")
    group.addoption("--rows", type=int, default=600, help="rows of each split at the most [600]")
    group.addoption("--turns", type=int, default=5, help="timed turns of every contestant [5]")


def pytest_configure(config):
    config.stash[RECORDS] = {}


@pytest.fixture(scope="session")
def rates(pytestconfig) -> dict[str, float]:
    pytestconfig.stash[RATES] = measured_rates()
    return pytestconfig.stash[RATES]


@pytest.fixture(autouse=True)
def quiet_torch():
    with torch.inference_mode():
        yield


@pytest.fixture
def contest(benchmark, rates, pytestconfig):
    """``contest(claim, contestants, ...)``: one untimed turn, then the timed turns. The first contestant is skn."""

    def run(
        claim: str,
        contestants: dict[str, Contestant],
        what: str,
        work: Work | None = None,
        targets: dict[str, float] | None = None,
        amx: bool = False,
        turns: int | None = None,
    ) -> None:
        seconds: dict[str, list[float]] = {}
        one_turn(contestants, {})
        benchmark.pedantic(one_turn, (contestants, seconds), rounds=turns or pytestconfig.getoption("turns"))
        ours = seconds[next(iter(contestants))]
        least = work and least_ms(work, rates)
        record = {
            "what": what,
            "commit": machine.commit(),
            "targets_need_amx": amx,
            "roofline_ms": least and round(least, 3),
            "rows": [
                {"name": name, "missing": c.why}
                if isinstance(c, Missing)
                else {
                    "name": name,
                    "ms": quartiles(seconds[name]),
                    "over_skn": ratios(seconds[name], ours),
                    "target": (targets or {}).get(name),
                }
                for name, c in contestants.items()
            ],
        }
        pytestconfig.stash[RECORDS][claim] = record

    return run


@pytest.fixture
def keep(rates, pytestconfig):
    """``keep(claim, record)``: keep a result that is no contest, such as memory."""

    def store(claim: str, record: dict) -> None:
        pytestconfig.stash[RECORDS][claim] = {"commit": machine.commit(), **record}

    return store


def pytest_sessionfinish(session):
    """Write the results over an earlier call's results. Other claims of the earlier call stay."""
    config = session.config
    if not config.stash[RECORDS]:
        return
    RESULTS.mkdir(exist_ok=True)
    rates = config.stash[RATES]
    path = machine.record_of(RESULTS, rates)
    old = json.loads(path.read_text()) if path.exists() else {"claims": {}}
    claims = {**old["claims"], **config.stash[RECORDS]}
    result = {"machine": machine.describe(), "rates": {k: round(v) for k, v in rates.items()}, "claims": claims}
    path.write_text(json.dumps(result, indent=1) + "\n")
