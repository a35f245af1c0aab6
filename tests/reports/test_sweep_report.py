"""The report of a sweep: which sections it gets, that its page stands alone and repeats byte for byte; its grid."""

import html
import shutil

import matplotlib
import numpy as np
import pytest
from filled_report_sweep import ATTRIBUTES, ERROR, FAILED, TASKS, add_searchlight, make_sweep
from filled_run import PROVENANCE, make_run
from pages import Page, assert_stands_alone, bytes_of

from skn.reports.read_sweep import report_rsa, report_sweep
from skn.runs.sweep import Sweep
from skn.store import artifacts, atomic

SECTIONS = ["grid", "searchlight", "top", "overlap", "stability", "masked", "specificity", "provenance"]
RSA = ["searchlight", "top", "overlap", "stability"]


def page_of(sweep):
    return Page(report_sweep(sweep.path).read_text())


@pytest.fixture(scope="module")
def drawn(made_sweeps, tmp_path_factory):
    """The page of a full sweep with its pictures."""
    return report_sweep(shutil.copytree(made_sweeps[1], tmp_path_factory.mktemp("drawn") / "sweep"))


def test_a_full_sweep_has_every_section_and_stands_alone(drawn):
    path = drawn
    assert path.parts[-3:] == ("sweep", "report", "index.html")
    assert Page(path.read_text()).sections == SECTIONS
    assert_stands_alone(
        path, {"grid", "searchlight", "top-neurons", "overlap", "stability", "masked-sets", "drop-sets"}
    )


def test_masks_have_the_name_that_the_user_gave(full_sweep):
    (full_sweep.path / "masked" / "sets").rename(full_sweep.path / "masked" / "sets@a%2Fb")
    path = report_sweep(full_sweep.path)
    assert "Sets sets@a/b" in path.read_text()
    assert (path.parent / "masked-sets@a%2Fb.png").is_file()


def test_a_bare_sweep_has_its_grid(bare_sweep):
    assert page_of(bare_sweep).sections == ["grid", "provenance"]


def test_a_sweep_that_has_not_begun(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", tasks=[])
    sweep = type(sweep)(sweep.path, ["toy"], [1], {})
    sweep.save()
    page = page_of(sweep)
    assert "1 tasks × 1 seeds = 1 cells: 1 missing." in page.text and "toy 0 of 1 – – –" in page.text


@pytest.mark.parametrize(
    ("files", "anchors"),
    [
        (["rsa/rsa.safetensors"], RSA),
        (["rsa/rsa.json"], ["stability"]),
        (["masked/sets/specificity.json"], ["specificity"]),
        (["masked/sets/accuracy.csv"], ["masked", "specificity"]),
    ],
)
def test_sections_go_with_their_files_and_no_others_do(full_sweep, files, anchors):
    for name in files:
        (full_sweep.path / name).unlink()
    assert page_of(full_sweep).sections == [name for name in SECTIONS if name not in anchors]


def test_ranks_alone_are_mapped(bare_sweep):
    """As an imported ranking has them: no tau, no p, no list of k."""
    found = add_searchlight(bare_sweep.path / "rsa")
    meta = {"attributes": ATTRIBUTES}
    artifacts.save(bare_sweep.path / "rsa" / "rsa.safetensors", "rsa", {"rank": found["rank"]}, PROVENANCE, **meta)
    page = page_of(bare_sweep)
    assert page.sections == ["grid", "top", "overlap", "provenance"]
    assert "The 6 best neurons" in page.text


def test_a_single_attribute_overlaps_with_none(tmp_path):
    add_searchlight(tmp_path, attributes=["valence"])
    assert Page(report_rsa(tmp_path).read_text()).sections == ["searchlight", "top", "provenance"]


def test_a_searchlight_without_its_sweep(full_sweep):
    folder = full_sweep.path / "rsa"
    page = Page(report_rsa(folder).read_text())
    assert page.sections == [*RSA, "provenance"]
    assert (folder / "report" / "searchlight.png").is_file() and "rsa.json" in page.text
    report_rsa(folder)  # the first report is no part of the second
    assert "index.html" not in Page((folder / "report" / "index.html").read_text()).text


def test_text_is_escaped(sweep_text):
    assert "<b>" not in sweep_text and "<i>" not in sweep_text and "<memory>" not in sweep_text
    assert html.escape("<i>fair") in sweep_text


@pytest.mark.drawn
def test_same_bytes_whatever_the_user_configured_and_however_long_it_took(drawn, full_sweep):
    (full_sweep.path / "grid.csv").write_text("times differ")
    atomic.write_json(full_sweep.path / "timings.json", {"sweep": 3})
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "text.parse_math": True}):
        again = report_sweep(full_sweep.path)
    assert bytes_of(again.parent) == bytes_of(drawn.parent)


def test_the_grid_shows_states_means_and_errors(made_sweeps, sweep_page):
    full = Sweep.open(made_sweeps[1])
    assert "4 tasks × 3 seeds = 12 cells: 9 done, 1 failed, 1 unfinished, 1 missing." in sweep_page.text
    accuracies = [full.run(cell).training["best_accuracy"] for cell in full.cells if cell.task == TASKS[0]]
    numbers = " ".join(f"{f(accuracies):.1%}" for f in (np.mean, min, max))
    margin = max(full.run(cell).outcome().margin for cell in full.cells if cell.task == TASKS[0])
    assert f"{TASKS[0]} 3 of 3 {numbers} {margin:.1%}" in sweep_page.text
    assert "95%: ±: how far an accuracy lies from the farther end of its 95% interval" in sweep_page.text
    assert f"{FAILED} {ERROR}" in sweep_page.text


def test_a_cell_finished_after_it_failed_is_done(full_sweep):
    make_run(full_sweep.folder(FAILED))
    page = page_of(full_sweep)
    assert "10 done, 1 unfinished" in page.text and ERROR not in page.text
