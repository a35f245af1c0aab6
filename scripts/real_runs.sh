#!/usr/bin/env bash
# The real runs of docs/results.md: all-MiniLM-L6-v2 on SST-2, tweet_hate, tweet_irony, TREC and SICK, and SST-2 once more in the
# RoBERTa architecture, to a pruned RoBERTa that is tuned again.
#
#   scripts/real_runs.sh DATA OUT [NAME...]     DATA: folder with sst2/, tweet_hate/, tweet_irony/, trec/, sick/
set -euo pipefail
data=$1 out=$2
shift 2
names=${*:-sst2 hate irony trec sick roberta}
minilm=$(python -c "from skn.stages.demo import demo_backbone; print(demo_backbone())")
mkdir -p "$out"

stages() { # RUN: everything after training
  skn probe --run "$1"
  skn select --run "$1"
  skn activate --run "$1" --neuron best
  skn mask --run "$1" --kind zero --fraction 0:0.2:0.2 --controls 20
  skn prune --run "$1" --fraction 0.1 --layers 3:6
  skn evaluate --run "$1" --speed --repeats 3
  skn report --run "$1"
}

sst2() {
  skn train --backbone "$minilm" --task sst2 --data "$data/sst2" --out "$out/sst2" --prompt-length 16 --epochs 3
  stages "$out/sst2"
}

hate() {
  skn train --backbone "$minilm" --data "$data/tweet_hate" --out "$out/hate" --epochs 3
  stages "$out/hate"
}

irony() {
  skn train --backbone "$minilm" --data "$data/tweet_irony" --out "$out/irony" --epochs 8
  stages "$out/irony"
}

trec() {
  skn train --backbone "$minilm" --data "$data/trec" --out "$out/trec" --epochs 8 \
    --verbalizer description,entity,abbreviation,person,place,number
  stages "$out/trec"
}

sick() { # the poles in full; the neutral class without the mask, whose test split is large
  local binary=$out/sick-binary
  skn binarize --data "$data/sick" --text-column premise --pair-column hypothesis --out "$binary"
  skn train --backbone "$minilm" --data "$binary/sick-pn" --pair-column pair --out "$out/sick-pn" --epochs 8
  stages "$out/sick-pn"
  skn train --backbone "$minilm" --data "$binary/sick-neu" --pair-column pair --out "$out/sick-neu" --epochs 4
  skn probe --run "$out/sick-neu"
  skn select --run "$out/sick-neu"
}

roberta() {
  python "$(dirname "$0")/minilm_as_roberta.py" "$out/minilm-roberta"
  skn train --backbone "$out/minilm-roberta" --task sst2 --data "$data/sst2" --out "$out/roberta" --epochs 2
  stages "$out/roberta"
  # The pruned RoBERTa, tuned again from the first run's prompt, then probed and pruned again.
  skn train --backbone "$out/roberta/pruned" --task sst2 --data "$data/sst2" --out "$out/roberta-again" \
    --init-from "$out/roberta" --epochs 1
  skn probe --run "$out/roberta-again"
  skn select --run "$out/roberta-again"
  skn prune --run "$out/roberta-again" --count 50 --layers 3:6
  skn evaluate --run "$out/roberta-again"
}

for name in $names; do
  echo "=== $name"
  time $name
done
