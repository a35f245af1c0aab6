"""What inference does unless told; the command line shows it before torch is imported."""

# Tokens of a batch, unless told: enough rows of a short text to keep two cores busy, a few dozen megabytes of a base
# model's activations.
BATCH_TOKENS = 4096
