"""The built-in corpus: the same everywhere, balanced, and not solved by word counts."""

import csv
import hashlib
import math
import random
import re
from collections import Counter

import pytest

from skn.data import corpus

NEGATION = re.compile(r"\b(not|never|nobody|nothing|hardly|anything but|far from)\b")
CONTRAST = re.compile(r"\b(?<!anything )(but|yet|although|though|while)\b")
DIGEST = "235847881a7b24aa46c9f9ee58836ddba3fc27d358f5e30dfb0f632338965c54"


def kind_of(sentence):
    """The kind of a sentence, read from its cue words alone."""
    if CONTRAST.search(sentence):
        return "contrast"
    return "negation" if NEGATION.search(sentence) else "plain"


def digest(rows):
    text = "\n".join(f"{sentence}\t{label}" for sentence, label in rows)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@pytest.fixture(scope="module")
def rows():
    return corpus.generate()


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The three written files, read back."""
    folder = tmp_path_factory.mktemp("corpus") / "new"
    corpus.write(folder, seed=0, size=3000)
    read = {}
    for name in ("train", "validation", "test"):
        with (folder / f"{name}.tsv").open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, delimiter="\t")
            read[name] = [(row["sentence"], int(row["label"])) for row in reader]
            assert reader.fieldnames == ["sentence", "label"]
    return read


def test_same_bytes_everywhere(rows):
    assert digest(rows) == DIGEST
    assert corpus.generate(seed=0, size=3000) == rows
    assert corpus.generate(seed=1) != rows


def test_global_generator_is_left_alone():
    random.seed(5)
    before = random.getstate()
    corpus.generate(size=60)
    assert random.getstate() == before


def test_size_balance_and_distinctness(rows):
    assert len(rows) == 3000
    assert Counter(label for _, label in rows) == {0: 1500, 1: 1500}
    assert len({sentence for sentence, _ in rows}) == len(rows)


@pytest.mark.parametrize("size", [12, 14, 500, 3002])
def test_other_sizes_are_balanced_too(size):
    assert Counter(label for _, label in corpus.generate(3, size)) == {0: size // 2, 1: size // 2}


@pytest.mark.parametrize("size", [-2, 0, 10, 13])
def test_a_size_that_cannot_be_balanced_is_refused(size):
    with pytest.raises(ValueError, match="even number"):
        corpus.generate(size=size)


def test_a_size_beyond_the_grammar_is_refused(monkeypatch):
    monkeypatch.setitem(corpus.TEMPLATES, "contrast", ("so it goes",))
    with pytest.raises(ValueError, match="too few contrast"):
        corpus.generate(size=100)


def test_kinds_have_their_shares_in_both_classes(rows):
    for label in (0, 1):
        found = Counter(kind_of(sentence) for sentence, each in rows if each == label)
        assert found == {kind: 1500 * share for kind, share in corpus.SHARES.items()}


@pytest.mark.parametrize("kinds, shares", [(["plain"], [1]), (["contrast", "plain"], [1 / 3, 2 / 3])])
def test_only_the_kinds_asked_for_occur(kinds, shares):
    found = Counter((kind_of(sentence), label) for sentence, label in corpus.generate(size=480, kinds=kinds))
    assert found == {(kind, c): 240 * share for kind, share in zip(kinds, shares, strict=True) for c in (0, 1)}


def test_sentences_are_well_formed(rows):
    for sentence, _ in rows:
        assert re.fullmatch(r"[a-z]+( ([a-z]+|,))* [a-z]+", sentence), sentence
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", sentence), sentence
        assert not re.search(r"\b(\w+) \1\b", sentence), sentence
        for noun in re.findall(r"\b(\w+) (?:are|were)\b", sentence):
            assert noun.endswith("s"), sentence


def test_words_have_one_polarity_and_stand_in_both_classes(rows):
    topics = [topic for _, *topics in corpus.DOMAINS for topic in topics]
    good = {word for topic in topics for word in topic.good.split()}
    bad = {word for topic in topics for word in topic.bad.split()}
    assert not good & bad
    counts = word_counts(rows)
    for words in (good, bad):
        ones, zeros = (sum(counts[label][word] for word in words) for label in (1, 0))
        assert 0.35 < ones / (ones + zeros) < 0.65
        assert all(counts[0][word] and counts[1][word] for word in words)


def test_written_splits(parts, rows):
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 2000,
        "validation": 500,
        "test": 500,
    }
    for part in parts.values():
        assert 2 * sum(label for _, label in part) == len(part)
        assert {kind_of(sentence) for sentence, _ in part} == set(corpus.SHARES)
    together = [row for part in parts.values() for row in part]
    assert sorted(together) == sorted(rows)  # and the rows are distinct: disjoint


def test_written_bytes_are_the_same_twice(tmp_path):
    for name in ("a", "b"):
        corpus.write(tmp_path / name, seed=4, size=120)
    for name in ("train", "validation", "test"):
        first = (tmp_path / "a" / f"{name}.tsv").read_bytes()
        assert first == (tmp_path / "b" / f"{name}.tsv").read_bytes()
        assert b"\r" not in first


def word_counts(rows):
    counts = (Counter(), Counter())
    for sentence, label in rows:
        counts[label].update(sentence.split())
    return counts


def accuracy(score, rows):
    """How often the sum of the word scores has the sign of the class."""
    hits = [(sum(map(score, text.split())) > 0) == (label == 1) for text, label in rows]
    return sum(hits) / len(hits)


def test_counting_words_does_not_solve_it(parts):
    zero, one = word_counts(parts["train"])
    vocabulary = len(zero | one)

    def naive_bayes(word):
        """Log odds with Laplace smoothing; the class prior is even."""
        return math.log((one[word] + 1) / (one.total() + vocabulary)) - math.log(
            (zero[word] + 1) / (zero.total() + vocabulary)
        )

    def majority(word):
        """One vote for the class the word is seen in most."""
        return (one[word] > zero[word]) - (one[word] < zero[word])

    assert accuracy(naive_bayes, parts["test"]) > 0.5  # it does learn something
    for score in (naive_bayes, majority):
        assert accuracy(score, parts["test"]) < 0.8
