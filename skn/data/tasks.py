"""The task registry: one row for each task of the original Skill-Neuron code, and one for each GoEmotions label.

A row gives the place of the data on the Hugging Face hub, the columns of text and label, the names of the classes, and
the label word of each class. Label words follow the originals where they define them (negative/positive and so on, also
for the emotions). The original left the words of the topic tasks to the user; here they name the topic.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from skn.data.emotions import LABELS
from skn.errors import InputError
from skn.names import did_you_mean

NEGATIVE_POSITIVE = ("negative", "positive")
NEGATIVE_NEUTRAL_POSITIVE = ("negative", "neutral", "positive")
CONFLICT_TO_POSITIVE = ("conflict", "negative", "neutral", "positive")
DBPEDIA_CLASSES = (
    ("company", "school", "artist", "athlete", "politician", "transport", "building")
    + ("nature", "village", "animal", "plant", "album", "film", "book")
)  # fmt: skip

# Default label words by number of classes, for the user's own data. For more than four classes, letters stand for the
# classes.
DEFAULT_LABEL_WORDS: dict[int, tuple[str, ...]] = {
    2: NEGATIVE_POSITIVE,
    3: NEGATIVE_NEUTRAL_POSITIVE,
    4: CONFLICT_TO_POSITIVE,
    **{count: tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count]) for count in range(5, 27)},
}


@dataclass(frozen=True)
class Task:
    """One classification task: the place of its rows and their meaning.

    ``hub`` is "owner/name" or "owner/name:configuration". ``splits`` maps skn's split names to the hub's where they
    differ. ``labels`` picks these raw labels, in this order, as classes 0 … C−1, and drops all other labels.
    ``binarized_from`` names the multi-class task from which ``skn binarize`` makes this task. ``one_of`` lists all
    labels, if rows may have several (see :mod:`skn.data.multilabel`): class 1 has one of them, class 0 is as many rows
    without it.
    """

    name: str
    text: str
    label: str
    classes: tuple[str, ...]
    label_words: tuple[str, ...]
    pair: str | None = None
    hub: str | None = None
    splits: tuple[tuple[str, str], ...] = ()
    labels: tuple[int, ...] | None = None
    binarized_from: str | None = None
    one_of: tuple[str, ...] = ()

    @property
    def tests_on_validation(self) -> bool:
        """Whether the hub's validation split is the test split."""
        return dict(self.splits).get("test", "").startswith("validation")


_MATCHED = (("train", "train"), ("test", "validation_matched"))  # GLUE's test labels are not public
_VALIDATION_AS_TEST = (("train", "train"), ("test", "validation"))
_MNLI = ("entailment", "neutral", "contradiction")
_MNLI_WORDS = ("positive", "neutral", "negative")
_HATE_CLASSES = ("noHate", "hate", "idk/skip", "relation")


def _binarized(parent: str, suffix: str, text: str, label: str, pair: str | None = None) -> Task:
    classes = ("first", "last") if suffix == "pn" else ("other", "neutral")
    return Task(f"{parent}-{suffix}", text, label, classes, NEGATIVE_POSITIVE, pair=pair, binarized_from=parent)


def _emotion(name: str) -> Task:
    return Task(f"goemotions/{name}", "text", "labels", ("other", name), NEGATIVE_POSITIVE,
                hub="google-research-datasets/go_emotions:simplified", one_of=LABELS)  # fmt: skip


_ROWS = (
    Task("ag_news", "text", "label", ("World", "Sports", "Business", "Sci/Tech"),
         ("world", "sports", "business", "technology"), hub="fancyzhx/ag_news"),
    Task("ag_news_s", "text", "label", ("World", "Sports"), NEGATIVE_POSITIVE,
         hub="fancyzhx/ag_news", labels=(0, 1)),
    Task("cola", "sentence", "label", ("unacceptable", "acceptable"), NEGATIVE_POSITIVE,
         hub="nyu-mll/glue:cola", splits=_VALIDATION_AS_TEST),
    Task("dbpedia", "content", "label", DBPEDIA_CLASSES, DBPEDIA_CLASSES, hub="fancyzhx/dbpedia_14"),
    Task("dbpedia_s", "content", "label", ("company", "politician"), NEGATIVE_POSITIVE,
         hub="fancyzhx/dbpedia_14", labels=(0, 4)),
    Task("deontology", "text", "label", ("unreasonable", "reasonable"), NEGATIVE_POSITIVE,
         hub="hendrycks/ethics:deontology"),
    Task("ethos", "text", "label", ("no hate", "hate"), NEGATIVE_POSITIVE, hub="iamollas/ethos:binary"),
    Task("empty", "sentence", "label", ("0", "1"), NEGATIVE_POSITIVE),
    Task("hate", "text", "label", _HATE_CLASSES, CONFLICT_TO_POSITIVE, hub="odegiber/hate_speech18"),
    _binarized("hate", "pn", "text", "label"),
    _binarized("hate", "neu", "text", "label"),
    Task("imdb", "text", "label", ("negative", "positive"), NEGATIVE_POSITIVE, hub="stanfordnlp/imdb"),
    Task("justice", "text", "label", ("unjust", "just"), NEGATIVE_POSITIVE, hub="hendrycks/ethics:justice"),
    Task("mnli", "premise", "label", _MNLI, _MNLI_WORDS, pair="hypothesis", hub="nyu-mll/glue:mnli", splits=_MATCHED),
    _binarized("mnli", "pn", "premise", "label", "hypothesis"),
    _binarized("mnli", "neu", "premise", "label", "hypothesis"),
    Task("tweet_eval", "text", "label", ("negative", "neutral", "positive"), NEGATIVE_NEUTRAL_POSITIVE,
         hub="cardiffnlp/tweet_eval:sentiment"),
    _binarized("tweet_eval", "pn", "text", "label"),
    _binarized("tweet_eval", "neu", "text", "label"),
    Task("qnli", "question", "label", ("entailment", "not_entailment"), NEGATIVE_POSITIVE, pair="sentence",
         hub="nyu-mll/glue:qnli", splits=_VALIDATION_AS_TEST),
    Task("qqp", "question1", "label", ("not_duplicate", "duplicate"), NEGATIVE_POSITIVE, pair="question2",
         hub="nyu-mll/glue:qqp", splits=_VALIDATION_AS_TEST),
    Task("sst2", "sentence", "label", ("negative", "positive"), NEGATIVE_POSITIVE,
         hub="nyu-mll/glue:sst2", splits=_VALIDATION_AS_TEST),
    Task("tweets_hate", "tweet", "label", ("no hate", "hate"), NEGATIVE_POSITIVE,
         hub="tweets-hate-speech-detection/tweets_hate_speech_detection", splits=(("train", "train"),)),
    Task("virtue", "sentence1", "label", ("no", "yes"), NEGATIVE_POSITIVE, pair="sentence2",
         hub="hendrycks/ethics:virtue"),
    *(_emotion(name) for name in LABELS),
)  # fmt: skip

TASKS: dict[str, Task] = {task.name: task for task in _ROWS}


def get_task(name: str) -> Task:
    """Return the registry's row. Raises :class:`InputError` with the nearest name."""
    if name in TASKS:
        return TASKS[name]
    raise InputError(f"--task {name}: not in the registry{did_you_mean(name, TASKS)} ('skn tasks' lists all)")


def expand_tasks(patterns: list[str]) -> list[str]:
    """Turn names and shell patterns into names of the registry. A pattern with a leading ``!`` removes names again.

    ``goemotions/*`` and ``!goemotions/neutral`` are the 27 emotions. The names keep the given order, each once. Raises
    :class:`InputError` for a name or pattern that matches nothing, with the nearest name.
    """
    wanted = [name for p in patterns if not p.startswith("!") for name in _matching(p)]
    unwanted = {name for p in patterns if p.startswith("!") for name in _matching(p[1:])}
    names = [name for name in dict.fromkeys(wanted) if name not in unwanted]
    if not names:
        raise InputError(
            f"--tasks '{','.join(patterns)}': no task is left; name at least one, such as 'goemotions/joy'"
        )
    return names


def _matching(pattern: str) -> list[str]:
    names = [name for name in TASKS if fnmatchcase(name, pattern)]
    if not names:
        raise InputError(
            f"--tasks {pattern}: matches no task of the registry{did_you_mean(pattern, TASKS)} ('skn tasks' lists all)"
        )
    return names
