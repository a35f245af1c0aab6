"""What launches a kernel does so on the device and the stream of its tensors; shown without a device."""

import ast
from pathlib import Path
from types import SimpleNamespace

import torch
from skn.kernels import groups

KERNELS = Path(groups.__file__).parent


def launches(node, guarded=False):
    """(name of the kernel, whether the launch is inside of ``with torch.cuda.device_of(...)``) of a tree."""
    if isinstance(node, ast.With):
        guarded |= any(ast.unparse(item.context_expr).startswith("torch.cuda.device_of(") for item in node.items)
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if isinstance(node.func, ast.Subscript) and "kernel" in called:  # kernel[grid](...)
            yield called.partition("[")[0], guarded
    for child in ast.iter_child_nodes(node):
        yield from launches(child, guarded)


def test_every_launch_is_on_the_device_of_its_tensors():
    """Triton launches on the current device, whatever the tensors are on."""
    found = [launch for path in KERNELS.glob("*.py") for launch in launches(ast.parse(path.read_text()))]
    assert {"hits_kernel", "ffn_pruned_kernel"} <= {kernel for kernel, _ in found}
    assert [kernel for kernel, guarded in found if not guarded] == []


def test_groups_are_kept_for_one_stream(monkeypatch):
    """Another stream would read them before their copy has arrived."""
    current = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    monkeypatch.setattr(groups, "_latest", [])
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_, **__: self.clone())
    labels, device = torch.tensor([1, 0, 1]), torch.device("cuda", 0)
    first = groups.group_by_class("op", labels, 2, device)
    assert groups.group_by_class("op", labels, 2, device) is first
    current.cuda_stream = 7
    assert groups.group_by_class("op", labels, 2, device) is not first
