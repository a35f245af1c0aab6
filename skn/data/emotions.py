"""The 27 emotions of GoEmotions (Demszky et al., ACL 2020) and "neutral", in the order of its label indices."""

EMOTIONS = (
    ("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire")
    + ("disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy")
    + ("love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise")
)  # fmt: skip

LABELS = (*EMOTIONS, "neutral")

# The order of the published activations and attribute distances (Li et al., 2023).
PUBLISHED_ORDER = (
    ("realization", "surprise", "admiration", "gratitude", "optimism", "approval", "pride", "excitement", "joy")
    + ("love", "amusement", "caring", "relief", "curiosity", "desire", "disgust", "disapproval", "anger", "annoyance")
    + ("confusion", "fear", "disappointment", "grief", "sadness", "nervousness", "embarrassment", "remorse")
)  # fmt: skip
