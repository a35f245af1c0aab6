#!/usr/bin/env bash
# The CUDA C++ kernels under compute-sanitizer, few cases. SANITIZER=none runs the cases without it (a dry run).
# Exit code 1: a tool found something, or there is none.
#
#     scripts/gpu/sanitize.sh PYTHON [option of check.py ...]
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$1
shift
sanitizer=${SANITIZER:-compute-sanitizer}
failed=0
export GPU_FEW=1
# Every tensor gets an allocation of its own. Otherwise memcheck would see one block that holds all tensors.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1

if [ "$sanitizer" = none ]; then
  exec "$python" "$here/check.py" --here "$@" labels tau permutations resident
fi
if ! command -v "$sanitizer" >/dev/null; then
  echo "FAILED  $sanitizer is not installed"
  exit 1
fi
under() {
  local tool=$1
  shift
  echo "== $tool"
  if ! "$sanitizer" --tool "$tool" --error-exitcode 9 "$python" "$here/check.py" --here "$@"; then
    echo "FAILED  $tool"
    failed=1
  fi
}
under memcheck "$@" labels tau permutations resident
under racecheck "$@" tau permutations resident
exit "$failed"
