"""The kinds of folder that skn makes, and what it adds to each."""

from __future__ import annotations

_RUN_TENSORS = ("tuned", "splits", "moments", "moments-*", "hits-*", "accuracy-*", "neurons", "activations-*")

# Kind → the files that skn adds to such a folder after it was made, as patterns; those that it was made with are listed
# in the mark. An artifact is known by what it says of itself, whatever its name; those named here even when damaged.
FOLDER_KINDS: dict[str, tuple[str, ...]] = {
    "run": (
        *("run.json", "timings.json", "prune.json", "checkpoints/step-*/*", "checkpoints/.partial-*/*"),
        *(f"mask-{kind}.json" for kind in ("zero", "mean", "gaussian", "scale")),
        *(f"evaluate-{split}.json" for split in ("train", "validation", "test")),
        *(f"{name}.safetensors" for name in _RUN_TENSORS),
    ),
    "sweep": ("sweep.json", "activations.safetensors", "timings.json", "grid.csv", "failed.json"),
    "masked sweep": ("accuracy.csv", "accuracy.parquet", "specificity.json", "*/seed-*/*.safetensors"),
    "demo": ("data/*.tsv",),
    "searchlight": (),
    "report": (),
    "folder of neuron sets": (),
    "folder of csv files": (),
    "pruned model": (),
    "exported model": (),
    "data set": (),
}


# Names of which the user chooses a part → the kind of document: such a file is skn's only if it says so too.
NAMED_DOCUMENTS: dict[str, dict[str, str]] = {"run": {"mask-*.json": "mask", "evaluate-*.json": "evaluate"}}
