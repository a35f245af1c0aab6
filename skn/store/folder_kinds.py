"""The kinds of folder that skn makes, and the files that skn adds to each kind later."""

from __future__ import annotations

_RUN_TENSORS = (
    *("tuned", "splits", "moments", "moments-*", "hits-*", "accuracy-*", "neurons"),
    *("activations-*", "exemplars-*"),
)

_MASKS = ("zero", "mean", "gaussian", "scale", "resample")

# Kind → patterns of the files that skn adds to such a folder after it was made. The mark lists the files that the
# folder was made with. skn recognises an undamaged artifact by its description, whatever its name; it recognises the
# names here even if the file is damaged.
FOLDER_KINDS: dict[str, tuple[str, ...]] = {
    "run": (
        *("run.json", "timings.json", "prune.json", "checkpoints/step-*/*", "checkpoints/.partial-*/*"),
        *(f"{stem}-{kind}.json" for stem in ("mask", "off-target") for kind in _MASKS),
        *(f"evaluate-{split}.json" for split in ("train", "validation", "test")),
        *(f"{name}.safetensors" for name in _RUN_TENSORS),
    ),
    "sweep": ("sweep.json", "activations.safetensors", "timings.json", "grid.csv", "failed.json"),
    "masked sweep": ("accuracy.csv", "accuracy.parquet", "specificity.json", "*/seed-*/*.safetensors"),
    "demo": ("data/*.tsv",),
    "searchlight": (),
    "report": (),
    "comparison": (),
    "folder of neuron sets": (),
    "folder of csv files": (),
    "pruned model": (),
    "exported model": (),
    "data set": (),
}


# Patterns of names that the user chooses in part → the kind of document. Such a file is skn's only if it says this
# kind.
NAMED_DOCUMENTS: dict[str, dict[str, str]] = {
    "run": {"mask-*.json": "mask", "off-target-*.json": "off-target", "evaluate-*.json": "evaluate"}
}
