#!/usr/bin/env bash
# On a machine with a CUDA device, in one command: builds skn into a folder of its own, tests the kernels there, checks
# operators and engine, runs the CUDA kernels under compute-sanitizer where that is installed, and benchmarks. Generated
# inputs only, nothing is downloaded. JSON goes to ${OUT:-bench/results}. Needs torch, triton, transformers, pytest,
# hypothesis, scipy and rich; nvcc for the CUDA C++ kernels. Exit code 2: no CUDA device.
#
#     scripts/gpu_check.sh [tests] [checks] [sanitizer] [bench]        all of them unless named
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
out=${OUT:-$root/bench/results}
stages=${*:-tests checks sanitizer bench}
LIMIT=${LIMIT:-480} # seconds after which no further benchmark is begun

if ! "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
  echo "gpu_check: no CUDA device can be used, because $python has no torch (set PYTHON to name another)" >&2
  exit 2
fi
"$python" "$root/scripts/gpu_check.py" --device || exit $?

# A folder and not the environment, which belongs to someone else. The tests run from there, so that the repository's
# own skn/, which has no skn.kernels, is not found first.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip install --quiet --no-deps --no-build-isolation --target "$work/installed" "$root"
export PYTHONPATH=$work/installed HF_HUB_OFFLINE=1
cd "$work"
grep -E '"(reason|cuda)"' installed/skn/_native/build.json

run_tests() {
  local parallel=()
  if "$python" -c 'import xdist' 2>/dev/null; then parallel=(-n 8); fi
  "$python" -m pytest -q -p no:cacheprovider --noconftest "${parallel[@]}" \
    "$root"/tests/test_{triton,triton_compile,cuda_compile,cuda_on_host,packed_encode,graphs}.py
}

run_checks() { "$python" "$root/scripts/gpu_check.py"; }

run_sanitizer() {
  if ! command -v compute-sanitizer >/dev/null; then
    echo "compute-sanitizer is not installed: not run"
    return
  fi
  for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" "$root/scripts/gpu_check.py" statistics labels tau
  done
}

run_bench() { "$python" "$root/scripts/gpu_bench.py" --out "$out" --limit $((LIMIT > SECONDS ? LIMIT - SECONDS : 0)); }

for stage in $stages; do "run_$stage"; done
