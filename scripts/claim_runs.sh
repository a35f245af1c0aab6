#!/usr/bin/env bash
# What the claims about MiniLM's neurons are worth: four tasks × three seeds, with permutation tests, random masks that match
# in three ways, five kinds of mask, damage to the other tasks, and stability.
#
#   scripts/claim_runs.sh DATA OUT     DATA: folder with sst2/, trec/, sick/, tweet_emotion/
#
# EPOCHS, CONTROLS, RELABELLINGS and BOOTSTRAPS change the amount of work. A run that is there is not trained again.
set -euo pipefail
data=$1 out=$2
seeds=${SEEDS:-0 1 2} epochs=${EPOCHS:-3} controls=${CONTROLS:-20}
relabellings=${RELABELLINGS:-1000} bootstraps=${BOOTSTRAPS:-1000}
minilm=$(python -c "from skn.stages.demo import demo_backbone; print(demo_backbone())")
tasks="sst2 trec sick emotion"
mkdir -p "$out"

runs() { # NAME, then the data and the label words: one run for each seed, and one ranking of all
  local name=$1 all=() seed
  shift
  for seed in $seeds; do
    local run=$out/$name-$seed
    all+=(--run "$run")
    [ -e "$run/significance-test.safetensors" ] && continue
    skn train --backbone "$minilm" "$@" --epochs "$epochs" --seed "$seed" --out "$run" --overwrite
    skn probe --run "$run" --permutations "$relabellings" --overwrite
    skn select --run "$run" --overwrite
  done
  skn select "${all[@]}" --permutations "$relabellings" --bootstrap "$bootstraps" --out "$out/$name.safetensors" --overwrite
}

runs sst2 --task sst2 --data "$data/sst2" --prompt-length 16
runs trec --data "$data/trec" --verbalizer description,entity,abbreviation,person,place,number
runs sick --data "$data/sick" --text-column premise --pair-column hypothesis --verbalizer no,maybe,yes
runs emotion --data "$data/tweet_emotion" --verbalizer anger,joy,optimism,sadness

first=${seeds%% *}
for task in $tasks; do
  run=$out/$task-$first
  others=$(for other in $tasks; do [ "$other" = "$task" ] || printf '%s,' "$out/$other-$first"; done)
  for kind in zero mean gaussian scale resample; do
    skn mask --run "$run" --kind "$kind" --fraction 0.1 --controls "$controls" --match layer,overall,activity --overwrite
  done
  skn mask --run "$run" --on "${others%,}" --fraction 0.1 --controls "$controls" --overwrite
  skn report --run "$run"
done
groups=()
for task in $tasks; do
  group=$(for seed in $seeds; do printf '%s,' "$out/$task-$seed"; done)
  groups+=("${group%,}")
done
skn compare "${groups[@]}" --out "$out/compare" --overwrite
