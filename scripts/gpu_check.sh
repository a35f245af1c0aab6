#!/usr/bin/env bash
# On a machine with a CUDA device, in one command: builds skn into a folder of its own, tests the kernels there, runs the
# CUDA kernels under compute-sanitizer where that is installed, and benchmarks. Generated inputs only, nothing is
# downloaded. JSON goes to ${OUT:-bench/results}. Needs torch, triton, transformers, pytest, hypothesis; nvcc for
# the CUDA C++ kernels. Exit code 2: no CUDA device.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
out=${OUT:-$root/bench/results}

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
export PYTHONPATH=$work/installed
cd "$work"
grep -E '"(reason|cuda)"' installed/skn/_native/build.json

"$python" -m pytest -q -p no:cacheprovider --noconftest \
  "$root/tests/test_triton.py" "$root/tests/test_triton_compile.py" "$root/tests/test_cuda_compile.py"
"$python" "$root/scripts/gpu_check.py" --checks
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" "$root/scripts/gpu_check.py" --checks
  done
else
  echo "compute-sanitizer is not installed: not run"
fi
"$python" "$root/scripts/gpu_check.py" --bench "$out"
