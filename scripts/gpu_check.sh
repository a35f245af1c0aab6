#!/usr/bin/env bash
# On a machine with a CUDA device: builds skn into a folder of its own, checks every kernel against float64 and times it,
# whatever else fails. Every step has a limit of its own and none ends another. Generated inputs only, nothing is
# downloaded. docs/gpu.md has the steps, and what comes of them.
#
#     scripts/gpu_check.sh quick               at most 290 s: build, check, time
#     scripts/gpu_check.sh full                at most 370 s: training, torch.compile, Triton cases, compute-sanitizer
#     scripts/gpu_check.sh --dry-run quick     the same steps on a CPU at small sizes
#
# OUT is the folder for logs, <run>.jsonl and <device>.json, at most eight files a run [gpu-check]; PYTHON the Python that
# has torch; LIMIT_<step> another limit for a step and WITHIN one for the run, in seconds. Exit codes: 0 every step went
# well, 1 one did not, 2 no torch, no CUDA device, or a wrong argument.
set -uo pipefail

# refuse WHAT WHY: a wrong argument or setting
refuse() {
  echo "gpu_check: $1: $2" >&2
  exit 2
}

root=$(cd "$(dirname "$0")/.." && pwd)
python=$(command -v "${PYTHON:-python3}") || refuse "PYTHON=${PYTHON:-python3}" "no such program; name a Python that has torch"
if [ "${python:0:1}" != / ]; then python=$PWD/$python; fi # the steps run in another folder
out=${OUT:-$root/gpu-check}
dry=()
if [ "${1:-}" = --dry-run ]; then
  dry=(--dry-run)
  shift
fi
run=${1:-}
case $run in
quick) within=${WITHIN:-290} ;;
full) within=${WITHIN:-370} ;;
*) refuse "'$run'" "expected quick or full, and before it --dry-run if you like" ;;
esac
if [ $# -gt 1 ]; then refuse "'$2'" "nothing may follow $run; --dry-run stands before it"; fi
for name in WITHIN ${!LIMIT_*}; do
  value=${!name:-1}
  if [[ ! $value =~ ^[1-9][0-9]*$ ]]; then refuse "$name=$value" "expected whole seconds, 1 or more"; fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
lines=$out/$run.jsonl
rm -f "$lines" "$out/$run"-*.log
touch "$lines"
# The steps run in another folder. Otherwise Python would find the repository's own skn/, which has no skn.kernels.
cd "$work" || exit 2
export PYTHONPATH=$work/installed${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
cases_mode=0 slack=1
if [ ${#dry[@]} -gt 0 ]; then
  export CUDA_VISIBLE_DEVICES='' OMP_NUM_THREADS=1 SANITIZER=none
  cases_mode=1 slack=10 # a test may share its cores
fi
within=$((within * slack))

failed=0 table='' last=0

# step NAME SECONDS COMMAND...: the command's output goes to a file of its own, and how it ended into the table.
step() {
  local name=$1 limit=$2 own="LIMIT_${1//-/_}" begin=$SECONDS left=$((within - SECONDS)) outcome
  local log=$out/$run-${log_name:-$1}.log
  shift 2
  limit=${!own:-$((limit * slack))}
  if [ "$limit" -gt "$left" ]; then limit=$left; fi
  if [ "$left" -lt 3 ]; then
    last=1 outcome="skipped: no time is left"
    echo "$outcome" >>"$log"
  else
    GPU_STEP=$run/$name timeout --kill-after=2 "$limit" "$@" >>"$log" 2>&1
    last=$?
    case $last in
    0) outcome=ok ;;
    124 | 137) outcome="ended at its limit of $limit s" ;;
    *) outcome="failed with exit code $last" ;;
    esac
  fi
  if [ "$last" -ne 0 ]; then failed=1; fi
  table+=$(printf '%-14s %4d s  %s' "$name" $((SECONDS - begin)) "$outcome")$'\n'
  printf '{"step": "%s/%s", "limit": %d, "seconds": %d, "outcome": "%s"}\n' \
    "$run" "$name" "$limit" $((SECONDS - begin)) "$outcome" >>"$lines"
  echo "== $name: $outcome"
  grep -aE '^FAILED' "$log" | cut -c1-400 | head -n 12
}

# check NAME SECONDS STILL CHECK..., and bench with suites likewise: a piece that says nothing for STILL seconds is ended.
check() { pieces check.py "$@"; }
bench() { pieces bench.py "$@"; }
pieces() {
  step "$2" "$3" "$python" "$root/scripts/gpu/$1" "${dry[@]}" --lines "$lines" --still $(($4 * slack)) "${@:5}"
}

# The last seconds of the step are left for the import.
build() {
  step build "$1" "$python" "$root/scripts/gpu/install.py" "$work/installed" --limit $((($1 - 8) * slack)) \
    "${dry[@]}" --lines "$lines"
}

# The facts go into a log of their own, or into the log of the named step, because a run may have at most eight files.
facts() {
  local log_name=$2
  step facts "$1" "$python" "$root/scripts/gpu/facts.py" "${dry[@]}" --lines "$lines"
  if [ "$last" -eq 2 ]; then
    cat "$out/$run-$log_name.log" >&2
    exit 2
  fi
  cat "$out/$run-$log_name.log"
}

run_quick() {
  facts 5 facts
  build 45
  check checks 60 25 tau encode norm graphs ffn resident waits
  bench bench 50 25 --within $((38 * slack)) copy tau pruned norm gelu masked statistics fused larger
  bench encoder 80 40 encoder original probe sst2
  check engine 40 25 permutations statistics labels pooling noise fused engine probe train decoders
}

run_full() {
  facts 5 build
  build 35
  bench encoder 60 30 baseline sst2 train
  bench compile 150 150 compile
  local parallel=() cases=("$root"/tests/kernels/triton_cases/{statistics,ffn,encode}.py) few=()
  if [ "$cases_mode" = 1 ]; then
    few=(-k "noise or no_tokens")
  elif "$python" -c 'import xdist' 2>/dev/null; then
    parallel=(-n 6)
  fi
  step triton 50 env TRITON_INTERPRET=$cases_mode "$python" -m pytest -v --tb=short --noconftest -p no:cacheprovider \
    "${parallel[@]}" "${few[@]}" "${cases[@]}"
  step sanitizer 55 "$root/scripts/gpu/sanitize.sh" "$python" "${dry[@]}" --lines "$lines"
  bench compile-large "$within" "$within" compile-large
}

"run_$run"
"$python" "$root/scripts/gpu/lines.py" "$lines" --out "$out" || failed=1
printf '\n%s' "$table"
exit "$failed"
