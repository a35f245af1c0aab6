"""The built-in demo corpus: short English reviews, labelled by construction.

Every sentence comes from the grammar below, so the corpus needs no download.
Class 1 is "positive", class 0 "negative"; there are three kinds of sentence:

* plain: the polarity words say it all ("the plot is clever");
* negation: the polarity word is denied ("the plot is anything but clever");
* contrast: the main clause decides ("the plot was slow but the ending was wonderful").

Negation and contrast put each polarity word into both classes, so counting words
does not solve the task: their order and scope are needed.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

LABELS = ("negative", "positive")
# Plain sentences outweigh negation: the words keep enough signal for the task to be learnable, but too little for a
# word counter to do well.
SHARES = {"plain": 0.50, "negation": 0.25, "contrast": 0.25}


class Topic(NamedTuple):
    """Nouns that take the same adjectives; number is "one", "many" or "mass"."""

    nouns: str
    good: str
    bad: str
    number: str = "one"


# For each domain: the preposition before its whole ("in the film"), then its topics, the whole first.
DOMAINS = (
    (
        "in",
        Topic("film movie remake", "funny gripping moving charming", "dull boring tedious dreadful"),
        Topic("plot story script", "clever gripping original touching", "slow predictable thin dull"),
        Topic("acting camerawork", "superb impressive", "clumsy amateurish dreadful", "mass"),
        Topic("jokes scenes characters", "funny witty clever", "lame shallow silly annoying", "many"),
        Topic("ending soundtrack", "wonderful beautiful memorable", "disappointing awful irritating"),
    ),
    (
        "at",
        Topic("restaurant bistro diner", "excellent charming lovely", "terrible gloomy overpriced"),
        Topic("food seafood", "delicious fresh tasty superb", "bland stale greasy awful", "mass"),
        Topic("waiters cooks", "friendly polite skilled helpful", "rude careless unfriendly", "many"),
        Topic("soup steak dessert", "delicious tasty excellent", "bland inedible disgusting"),
        Topic("service", "prompt attentive excellent", "slow careless terrible", "mass"),
    ),
    (
        "in",
        Topic("book novel saga", "engaging moving original", "tedious shallow boring pointless"),
        Topic("prose writing", "elegant witty beautiful engaging", "clumsy lifeless dreary", "mass"),
        Topic("chapters passages", "insightful witty lively", "boring confusing repetitive", "many"),
        Topic("premise epilogue", "clever original wonderful", "silly predictable disappointing"),
        Topic("hero narrator heroine", "believable likeable charming", "annoying irritating"),
    ),
    (
        "at",
        Topic("hotel hostel resort", "lovely welcoming wonderful", "dreadful gloomy overpriced"),
        Topic("room bathroom lobby", "spotless comfortable spacious", "dirty shabby cramped smelly"),
        Topic("beds blankets", "comfortable fresh spotless", "uncomfortable smelly dirty", "many"),
        Topic("manager receptionist", "helpful friendly polite likeable", "rude unhelpful unfriendly"),
        Topic("breakfast pool", "excellent superb impressive", "terrible disappointing awful"),
    ),
)
MOMENTS = Topic("moment", "memorable delightful wonderful", "dull boring annoying")
# Verdicts by class. Only a whole gets a verdict, and only where a template has {pred}.
VERDICTS = (("a mess", "a letdown", "a failure"), ("a delight", "a triumph", "a real treat"))

# {n} is the noun, {adj} an adjective, {pred} an adjective or a verdict, {an} "a dull film", {host} the whole of a part,
# {at} its preposition, {moment} "a dull moment", {c} the side clause, {m} the main clause. No template depends on the
# class.
TEMPLATES = {
    "plain": (
        "the {n} {be} {pred}",
        "the {n} {be} truly {adj}",
        "i found the {n} {adj}",
        "what {an}",
        "i thought the {n} {was} {pred}",
        "in my view the {n} {be} {pred}",
        "we all agreed that the {n} {was} {pred}",
        "the {n} {seem} {adj} to me",
        "the {host} {have} {an}",
        "there {bes} {moment} or two {at} the {host}",
        # Two clauses that agree, so that two clauses are not always a contrast.
        "{c} and {m}",
        "{c} , and {m} too",
        "{c} and {m} overall",
    ),
    "negation": (
        "the {n} {be} not {adj}",
        "the {n} {be} not {adj} at all",
        "the {n} {be} not {pred}",
        "the {n} {be} hardly {pred}",
        "i {do} not find the {n} {adj}",
        "i {do} not think the {n} {be} {pred}",
        "the {n} {be} anything but {pred}",
        "the {n} {be} far from {pred}",
        "there {bes} nothing {adj} about the {n}",
        "the {n} never {seem} {adj} to me",
        "i would never call the {n} {pred}",
        "nobody could call the {n} {pred}",
        "there {bes} hardly {moment} {at} the {host}",
    ),
    "contrast": (
        "{c} but {m}",
        "{c} but {m} overall",
        "{c} , but in the end {m}",
        "{c} , yet {m} overall",
        "although {c} , {m}",
        "while {c} , {m}",
        "{m} even though {c}",
    ),
}
TENSES = (  # singular and plural, if the subject can be either
    {"be": ("is", "are"), "seem": ("seems", "seem"), "have": "has", "do": "do"},
    {"be": ("was", "were"), "seem": ("seemed", "seemed"), "have": "had", "do": "did"},
)


def _pick(rng: random.Random, options):
    """Pick one option.

    Of all random functions, Python promises only for random() that every version returns the same.
    """
    return options[int(rng.random() * len(options))]


def _article(phrase: str) -> str:
    """Put "a" or "an" before a phrase; no word of the grammar is an exception."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _adjective(rng: random.Random, topic: Topic, good: bool) -> str:
    """One of the topic's adjectives of the given polarity."""
    return _pick(rng, (topic.good if good else topic.bad).split())


def _predicate(rng: random.Random, topic: Topic, whole: bool, good: bool) -> str:
    """An adjective that fits the topic or, for a whole, sometimes a verdict."""
    verdict = whole and rng.random() < 0.3
    return _pick(rng, VERDICTS[good]) if verdict else _adjective(rng, topic, good)


def _simple(rng: random.Random, template: str, good: bool, denied: bool) -> str:
    """Fill a one-clause template with a word of the given polarity."""
    at, *topics = _pick(rng, DOMAINS)
    # A whole is no part of itself: "the film has a dull film" must not occur.
    topic = _pick(rng, topics[1:] if "{host}" in template else topics)
    # Contrast puts the words of a whole only into their own class. Negation takes the whole more often to make up for
    # this.
    topic = topics[0] if denied and rng.random() < 0.4 else topic
    noun, adjective = _pick(rng, topic.nouns.split()), _adjective(rng, topic, good)
    many, tense = topic.number == "many", _pick(rng, TENSES)
    phrase = f"{adjective} {noun}"
    return template.format(
        n=noun,
        adj=adjective,
        an=_article(phrase) if topic.number == "one" else phrase,
        be=tense["be"][many],
        seem=tense["seem"][many],
        was="were" if many else "was",
        have=tense["have"],
        do=tense["do"],
        bes=tense["be"][0],
        at=at,
        host=_pick(rng, topics[0].nouns.split()),
        pred=_predicate(rng, topic, topic is topics[0], good),
        moment=_article(_adjective(rng, MOMENTS, good) + " moment"),
    )


def _pair(rng: random.Random, template: str, side_good: bool, main_good: bool) -> str:
    """Join a side clause and a main clause about two topics of one domain."""
    (_, *topics), verbs = _pick(rng, DOMAINS), _pick(rng, TENSES)["be"]
    # A main clause that sums up ("overall", "in the end") must judge the whole. Other main clauses often judge the
    # whole, too, as a reviewer's conclusion does.
    sums_up = "overall" in template or "in the end" in template or rng.random() < 0.5
    main = topics[0] if sums_up else _pick(rng, topics)
    side = _pick(rng, [topic for topic in topics if topic is not main])
    clauses = {}
    for slot, topic, good in (("c", side, side_good), ("m", main, main_good)):
        noun, be = _pick(rng, topic.nouns.split()), verbs[topic.number == "many"]
        clauses[slot] = f"the {noun} {be} {_predicate(rng, topic, topic is topics[0], good)}"
    return template.format(**clauses)


def _sentence(rng: random.Random, kind: str, good: bool) -> str:
    """A sentence of the kind whose verdict, after any reversal, is good or bad."""
    template = _pick(rng, TEMPLATES[kind])
    if "{m}" in template:
        return _pair(rng, template, good != (kind == "contrast"), good)
    denied = kind == "negation"
    return _simple(rng, template, good != denied, denied)


def generate(seed: int = 0, size: int = 3000, kinds: Sequence[str] = tuple(SHARES)) -> list[tuple[str, int]]:
    """Distinct (sentence, label) rows, half of them of each class, shuffled by random().

    ``kinds`` are the kinds of sentence in the corpus. Their shares are in the proportions of :data:`SHARES`.
    """
    if size < 12 or size % 2:
        raise ValueError(f"size must be an even number of at least 12, not {size}")
    rng, half = random.Random(seed), size // 2
    rows: dict[str, int] = {}  # a dict keeps its order, a set would not
    whole = sum(SHARES[kind] for kind in kinds)
    quota = {kind: int(half * SHARES[kind] / whole) for kind in kinds}
    quota[kinds[0]] += half - sum(quota.values())  # the rows that rounding left over
    for kind, wanted in quota.items():
        for label in range(len(LABELS)):
            full = len(rows) + wanted
            for _ in range(100 * wanted):  # the grammar is finite, so the loop needs an end
                if len(rows) < full:
                    rows.setdefault(_sentence(rng, kind, label == 1), label)
            if len(rows) < full:
                raise ValueError(f"the grammar has too few {kind} sentences for size {size}")
    return [row for _, row in sorted((rng.random(), row) for row in rows.items())]


def split(rows: list[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """Disjoint train (2/3), validation (1/6) and test (1/6) rows, each balanced."""
    parts: dict[str, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    sixth, count = len(rows) // len(LABELS) // 6, [0] * len(LABELS)
    for row in rows:  # in the given order, which generate has shuffled
        n = count[row[1]] = count[row[1]] + 1
        parts["test" if n <= sixth else "validation" if n <= 2 * sixth else "train"].append(row)
    return parts


def write(folder: Path, seed: int = 0, size: int = 3000) -> None:
    """Write train.tsv, validation.tsv and test.tsv (sentence, label) into folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in split(generate(seed, size)).items():
        # A fixed line end keeps the bytes the same on every platform.
        with (folder / f"{name}.tsv").open("w", encoding="utf-8", newline="") as handle:
            out = csv.writer(handle, delimiter="\t", lineterminator="\n")
            out.writerows([("sentence", "label"), *rows])
