"""Which names are paths, and how long the hub is waited for; no test asks the network."""

from __future__ import annotations

import threading

import pytest
from huggingface_hub import constants

from skn.data import sources
from skn.errors import InputError
from skn.model.pretrained import load_config
from skn.store import hub


@pytest.fixture(autouse=True)
def nobody_asked(monkeypatch, tmp_path):
    """Nothing is known of the hub, no test's name was said before, and the working folder is the test's."""
    monkeypatch.setattr(hub, "_last", None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("the network was asked"))
    monkeypatch.chdir(tmp_path)
    hub._say.cache_clear()


@pytest.mark.parametrize(
    "name", ["here/reviews", "owner/reviews.csv", "reviews.jsonl", "~/reviews", "a/b/c", "./a", "a b"]
)
def test_a_path_is_not_asked_for(tmp_path, name):
    (tmp_path / "here").mkdir()
    with pytest.raises(InputError, match="^" + name + ": no such file or folder.*; see data="):
        sources.read(name)
    with pytest.raises(InputError, match="^" + name + ": no folder of this name"):
        load_config(name)


def test_the_folder_that_makes_a_path_is_named(tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(InputError, match="there is a folder 'here' here, so the name is taken for a path"):
        sources.read("here/reviews")


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch, caplog):
    """The search for its address never ends; the libraries are told that they are offline, and not asked again."""
    asked, end = [], threading.Event()

    def never(answers):
        asked.append(answers)
        end.wait(20)

    monkeypatch.setattr(hub, "_ask", never)
    monkeypatch.setattr(hub, "SECONDS", 0.01)
    said = r"\(the hub does not answer, and no copy is kept on this machine\)"
    with pytest.raises(InputError, match=f"owner/reviews: neither a file, .* data set of the hub {said}; see data="):
        sources.read("owner/reviews")
    with pytest.raises(InputError, match=f"owner/model: neither the folder of a model nor a reachable hub id {said}"):
        load_config("owner/model")
    end.set()
    assert len(asked) == 1 and not constants.HF_HUB_OFFLINE and not caplog.messages


def test_what_is_looked_for_on_the_hub_is_said_once(monkeypatch, caplog):
    caplog.set_level("INFO", "skn")
    monkeypatch.setattr(hub, "_ask", lambda answers: answers.append(True))
    for cached in (True, False, False):
        with hub.asking("owner/reviews", cached):
            assert not constants.HF_HUB_OFFLINE
        assert caplog.messages == ["owner/reviews: nothing of this name stands here; looking for it on the hub"] * (
            not cached
        )
