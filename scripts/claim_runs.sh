#!/usr/bin/env bash
# What the claims about MiniLM's neurons are worth: four tasks × three seeds, with permutation tests, random masks that match
# in three ways, five kinds of mask, damage to the other tasks, and stability.
#
#   scripts/claim_runs.sh DATA OUT [STEP...]     DATA: folder with sst2/, trec/, sick/, tweet_emotion/
#
# Steps, by default all, in this order:
#   runs        trains, probes and ranks the runs of every seed in SEEDS
#   masks       masks the runs of FIRST, one seed
#   off_target  masks the best neurons of every run in the runs of the other tasks with the same seed
#   together    ranks the seeds of a task together, compares the tasks, and tests on target against off target over the seeds
#
# Of each test split, TEST_ROWS rows are drawn: a mask and its random masks are some 200 passes over them. SEEDS, FIRST, CONTROLS,
# RELABELLINGS and BOOTSTRAPS change the amount of work, too. A run or a mask that is there is not made again, so two shells may
# share the work of every step but the last, each with its own SEEDS or TASKS.
set -euo pipefail
data=$1 out=$2
shift 2
steps=${*:-runs masks off_target together}
seeds=${SEEDS:-0 1 2} first=${FIRST:-0} controls=${CONTROLS:-10}
relabellings=${RELABELLINGS:-1000} bootstraps=${BOOTSTRAPS:-1000} rows=${TEST_ROWS:-500}
minilm=$(python -c "from skn.stages.demo import demo_backbone; print(demo_backbone())")
every="sst2 trec sick emotion"
tasks=${TASKS:-$every}

drawn() { # FOLDER: prints where the same data stand with some rows of test, the same for every seed
  local target=$out/data/$1 part
  echo "$target"
  [ -e "$target/test.tsv" ] && return
  mkdir -p "$target"
  for part in "$data/$1"/*.tsv; do [ "${part##*/}" = test.tsv ] || cp -f "$part" "$target"; done
  python - "$data/$1/test.tsv" "$rows" > "$target/test.$$" <<'CUT'
import random, sys

header, *lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
print(header, *random.Random(0).sample(lines, min(int(sys.argv[2]), len(lines))), sep="\n")
CUT
  mv "$target/test.$$" "$target/test.tsv"
}

run() { # NAME, then the data, the label words and the epochs
  local run=$out/$1-$seed
  shift
  [ -e "$run/significance-test.safetensors" ] && return
  skn train --backbone "$minilm" "$@" --seed "$seed" --out "$run" --overwrite
  skn probe --run "$run" --permutations "$relabellings" --overwrite
  skn select --run "$run" --overwrite
}

train() { # TASK
  case $1 in
    sst2) run sst2 --task sst2 --data "$(drawn sst2)" --epochs 2 ;;
    trec) run trec --data "$(drawn trec)" --verbalizer description,entity,abbreviation,person,place,number --epochs 4 ;;
    sick) run sick --data "$(drawn sick)" --text-column premise --pair-column hypothesis --verbalizer no,maybe,yes --epochs 4 ;;
    emotion) run emotion --data "$(drawn tweet_emotion)" --verbalizer anger,joy,optimism,sadness --epochs 4 ;;
    *) echo "TASKS: '$1' is none of: $every" >&2 && exit 2 ;;
  esac
}

runs() {
  local seed task
  for seed in $seeds; do
    for task in $tasks; do train "$task"; done
  done
}

mask() { # RUN, FILE, then the options: the best tenth of each layer
  local run=$1 file=$1/$2.json
  shift 2
  [ -e "$file" ] || skn mask --run "$run" --fraction 0.1 "$@"
}

masks() {
  local task run kind
  for task in $tasks; do
    run=$out/$task-$first
    mask "$run" mask-zero --controls "$controls" --match layer,overall,activity
    for kind in mean gaussian scale resample; do
      mask "$run" "mask-$kind" --kind "$kind" --controls "$((controls / 2))" --match activity
    done
  done
}

off_target() {
  local seed task other others
  for seed in $seeds; do
    for task in $tasks; do
      others=$(for other in $every; do [ "$other" = "$task" ] || printf '%s,' "$out/$other-$seed"; done)
      mask "$out/$task-$seed" off-target-zero --on "${others%,}" --controls "$((controls * 2))"
    done
  done
}

together() {
  local task seed groups=() group all
  for task in $every; do
    all=() group=
    for seed in $seeds; do
      all+=(--run "$out/$task-$seed")
      group+=$out/$task-$seed,
    done
    groups+=("${group%,}")
    skn select "${all[@]}" --permutations "$relabellings" --bootstrap "$bootstraps" --out "$out/$task.safetensors" --overwrite
  done
  skn compare "${groups[@]}" --out "$out/compare" --overwrite
  for task in $every; do
    all=()
    for seed in $seeds; do all+=(--run "$out/$task-$seed"); done
    skn report "${all[@]}" --out "$out/report-$task" --overwrite
  done
}

for step in $steps; do "$step"; done
