"""The CUDA compiler, if this machine has one."""

import os
import shutil

NVCC = os.environ.get("CUDACXX") or shutil.which("nvcc")
