"""Every operator keeps torch's contract (schema, fake, autograd, tracing), with the native library and without it."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from encode_cases import EPS, Case
from kendall_cases import ALL, columns
from levels import DTYPES
from permutation_cases import REST, problem
from repository import REPOSITORY
from skn.kernels import encode
from statistics_cases import laid_out, state

from skn import ops
from skn.ops import areas, backends, digests, encoder, ffn, kendall, native, permutations, statistics

# [N, K] of weights: a multiple of a panel, one beyond it, nothing, and depths that do not come in pairs.
SIZES = [(64, 24), (33, 7), (1, 1), (0, 5), (5, 0), (61, 130)]
FORMS = [(form, dtypes[0]) for form, dtypes in encoder.FORMS.items()]
MADE = ("bf16x3", "int8")  # of a plain weight, which has its own dtype's form


def ids_of(cases):
    return {" ".join(map(str, key)).replace("torch.", ""): value for key, value in cases.items()}


def of_statistics(name, made_of):
    """``made_of(act)``: in every dtype, in two memory layouts, and of an activation that requires a gradient."""
    act = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    cases = {(name, dtype): made_of(laid_out(act.to(dtype), "step")) for dtype in DTYPES}
    cases[name, "contiguous"] = made_of(act)
    cases[name, "gradient"] = made_of(act.clone().requires_grad_())
    return cases


def moments(act):
    to = state(2, 3, 5)
    return to.count, to.total, to.total_sq, act, torch.tensor([0, 1, 1, 0])


def hits(act):
    return state(2, 3, 5).hits, act, torch.zeros(3, 5, dtype=torch.float64), torch.tensor([0, 1, 1, 0])


def pooled(reduce):
    return lambda act: (act, torch.tensor([3, 2, 1, 0]), torch.tensor([0, 1, 2, 3]), reduce)


def of_kendall():
    cases = {}
    for dtype in DTYPES:
        x, y = columns(9, ALL[:3], 1, dtype), columns(9, ALL[:2], 2)  # opcheck holds NaN unequal to NaN
        cases["kendall_tau", dtype] = x.T.contiguous().T, y
    cases["kendall_tau", "contiguous"] = x, y
    cases["kendall_tau", "gradient"] = x.clone().requires_grad_(), y
    return cases


def of_digest():
    wide = torch.randn(3, 70, generator=torch.Generator().manual_seed(0))
    several = [wide, wide.T, wide.bfloat16(), wide > 0, torch.empty(0), torch.tensor(1)]
    return {("digest", "several"): (several,), ("digest", "gradient"): ([wide.clone().requires_grad_()],)}


def of_permutations():
    first, second = frozenset([0]), frozenset([1])
    cases = {
        ("permuted_hits", "binary"): problem(70, ((first, REST),), groups=5).arguments(),
        ("permuted_hits", "least"): problem(64, ((first, second), (second, REST)), runs=2, lowest=True).arguments(),
        ("permuted_hits", "no others"): problem(9, ((first, REST),), others=0).arguments(),
    }
    words, *rest = cases["permuted_hits", "binary"]
    return cases | {("permuted_hits", "by column"): (words.transpose(2, 3).contiguous().transpose(2, 3), *rest)}


def of_auroc():
    labels = torch.arange(9) % 3
    cases = {("auroc", dtype): (columns(9, ALL[:3], 1, dtype).T.contiguous().T, labels, 3) for dtype in DTYPES}
    cases["auroc", "contiguous"] = columns(9, ALL[:3], 1), labels, 3
    cases["auroc", "gradient"] = columns(9, ALL[:3], 1).requires_grad_(), labels, 3
    return cases


def weight(n, k, dtype):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(1)).to(dtype)


def of_pack():
    cases = {("pack", form): (weight(61, 33, dtype), form) for form, dtype in FORMS}
    for form, dtype in FORMS:
        cases["pack", form, "by column"] = weight(7, 33, dtype).T, form
        cases["pack", form, "gradient"] = weight(33, 7, dtype).requires_grad_(), form
    for n, k in SIZES:
        number, scale = torch.ones(k, n, dtype=torch.int8).T, torch.ones(2 * n)[::2]
        cases["pack_int8", n, k] = number, scale, torch.ones(k, 2).T
    cases["pack_int8", "rotated"] = number, scale, torch.ones(k, 2).T, True
    return cases


def of_encode():
    cases = {}
    for form, dtype in FORMS:
        # A form changes the weights alone: the later ones are looked at in two shapes.
        shapes = (("small", False), ("trimmed", True), ("tap over read", False), ("odd", True))
        for name, masked in shapes[: 2 if form in MADE else None]:
            case = Case(name, dtype, masked)
            weights = [ops.pack(w, form) if w.dim() == 2 else w for w in case.weights]
            given = case.hidden, case.bounds, weights, case.masks, case.heads, EPS, case.read, case.tap
            cases["encode", form, f"read {case.read}", f"tap {case.tap}", "masked" if masked else "plain"] = given
            if name == "small" and form == "float32":
                neurons = [torch.arange(0, 7, 2), torch.empty(0, dtype=torch.int64)]
                values = [torch.ones(3, 4), torch.ones(3, 0)]
                cases["encode", "recorded"] = *given, neurons
                cases["encode", "taken"] = *given, neurons, values, torch.arange(15) % 4 - 1
    return cases


def of_ffn():
    cases = {}
    for form, dtype in FORMS:
        g = torch.Generator().manual_seed(0)
        x, w_in, b_in, w_out, b_out, gain, shift = (
            torch.randn(*size, generator=g).to(dtype) / 2
            for size in [(3, 5, 24), (7, 24), (7,), (24, 7), (24,), (24,), (24,)]
        )
        plain, packed = (w_in, b_in, w_out, b_out), (ops.pack(w_in, form), b_in, ops.pack(w_out, form), b_out)
        for kind, linear in (("plain", plain), ("packed", packed)):
            if kind == "plain" and form in MADE:
                continue
            for rows in (1, 3) if form == "float32" else (3,):
                mask = torch.rand(7, generator=g), torch.randn(rows, 7, generator=g)
                cases["ffn_masked", form, kind, f"{rows} shifts"] = x, *linear, *mask
                chosen = torch.arange(0, 7, 2), torch.ones(3, 4, dtype=dtype), torch.arange(15) % 4 - 1
                cases["ffn_masked", form, kind, f"{rows} shifts", "taken"] = x, *linear, *mask, *chosen
            cases["ffn_pruned", form, kind] = x, *linear, gain, shift, 1e-5
        if form not in MADE:
            cases["ffn_pruned", form, "gradient"] = x.clone().requires_grad_(), *plain, gain, shift, 1e-5
    return cases


CASES = ids_of(
    of_statistics("accumulate_moments", moments)
    | of_statistics("accumulate_hits", hits)
    | of_statistics("pool_tokens", pooled("mean"))
    | {("pool_tokens", "max"): pooled("max")(torch.ones(4, 3, 5))}
    | of_kendall()
    | of_digest()
    | of_permutations()
    | of_auroc()
    | of_ffn()
    | of_pack()
    | of_encode()
)


OF_EVERY_CASE = ("test_schema", "test_autograd_registration", "test_faketensor")
# Tracing with unknown sizes takes most of the time. So of the operators without weights, whose results do not depend on the
# dtype, it takes one case; of the others one of each form or kind; and every case with a gradient.
WITHOUT_WEIGHTS = ("accumulate_moments", "accumulate_hits", "pool_tokens", "kendall_tau", "auroc")


def kind(case):
    name, form, *_ = case.split()
    return name if name in WITHOUT_WEIGHTS else (name, form)


TRACED = {*{kind(case): case for case in CASES}.values(), *(case for case in CASES if "gradient" in case)}


@pytest.mark.parametrize("case", CASES)
def test_contract(case):
    name = case.partition(" ")[0]
    checks = (*OF_EVERY_CASE, "test_aot_dispatch_dynamic") if case in TRACED else OF_EVERY_CASE
    # The gradient of ffn_pruned is computed anew by plain torch, whose roundings are others than the kernel's.
    near = {"atol": 0.05, "rtol": 0.05} if name == "ffn_pruned" and "gradient" in case else {}
    torch.library.opcheck(getattr(torch.ops.skn, name).default, CASES[case], test_utils=checks, **near)


def test_every_operator_is_among_them():
    assert {case.partition(" ")[0] for case in CASES} == set(backends.TABLE)


def freed(tensor):
    """The tensor as sharding and offloading leave it."""
    left = tensor.detach().clone()
    left.untyped_storage().resize_(0)
    return left


def with_one_freed(arguments):
    """The arguments again, once for each tensor among them that has memory."""
    for i, argument in enumerate(arguments):
        if isinstance(argument, list):
            several = (argument[:j] + [freed(t)] + argument[j + 1 :] for j, t in enumerate(argument) if t.numel())
            yield from ((*arguments[:i], one, *arguments[i + 1 :]) for one in several)
        elif isinstance(argument, torch.Tensor) and argument.numel():
            yield *arguments[:i], freed(argument), *arguments[i + 1 :]


FILES = (statistics, encoder, ffn, kendall, digests, permutations, areas)
CHECKS = {name: check for file in FILES for name, check in file.CHECKS.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_tensor_whose_memory_was_freed_is_refused(case):
    """By what serves here, and by the check that the eager definition and the kernels of Triton begin with."""
    name = case.partition(" ")[0]
    tried = list(with_one_freed(CASES[case]))
    for arguments in tried:
        for call in (getattr(torch.ops.skn, name), CHECKS[name]):
            with pytest.raises(RuntimeError, match=f"^{name}: the memory of a tensor .* was freed"):
                call(*arguments)
    assert tried


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("form", "dtype"), FORMS)
def test_the_fake_of_pack_has_the_layout_of_the_real_one(form, dtype, size):
    for given in (weight(*size, dtype), weight(*reversed(size), dtype).T):
        real = ops.pack(given, form)
        with torch._subclasses.FakeTensorMode() as mode:
            fake = ops.pack(mode.from_tensor(given), form)
        assert (fake.shape, fake.dtype) == (real.shape, real.dtype)
        assert fake.stride() == real.stride() or real.numel() == 0
        assert (real.dim() in {"float32": (3,), "int8": (1,)}.get(form, (4, 5))) == native.loaded()
        # A device without a kernel of its own has the plain copy, whatever serves on the CPU.
        plain = encoder._default_pack(given, form)
        meta = ops.pack(given.to("meta"), form)
        assert (meta.shape, meta.dtype) == (plain.shape, plain.dtype)


@pytest.mark.parametrize("size", [(64, 24), (24, 64), (2000, 24)], ids=str)
def test_the_fake_of_pack_follows_the_kernel_on_cuda(monkeypatch, size):
    real = encode.pack(weight(*size, torch.float32), "float32")
    monkeypatch.setattr(native, "registered", lambda op, device_type: (op, device_type) == ("pack", "cuda"))
    with torch._subclasses.FakeTensorMode():
        fake = ops.pack(torch.empty(size, device="cuda"))
        assert (fake.shape, fake.stride(), fake.device.type) == (real.shape, real.stride(), "cuda")
        for form in MADE:
            with pytest.raises(RuntimeError, match=f"{form} has no kernel on CUDA"):
                ops.pack(torch.empty(size, device="cuda"), form)


@pytest.mark.parametrize(("form", "dtype"), FORMS)
def test_tracing_packs_and_encodes(form, dtype):
    case = Case("trimmed", dtype, masked=True)

    def packed_and_encoded(hidden, *weights):
        packed = [ops.pack(w, form) if w.dim() == 2 else w for w in weights]
        return ops.encode(hidden, case.bounds, packed, case.heads, EPS, case.masks, case.read, case.tap)

    with torch.no_grad():
        traced = torch.compile(packed_and_encoded, backend="aot_eager", fullgraph=True)
        found, expected = (run(case.hidden, *case.weights) for run in (traced, packed_and_encoded))
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_without_the_native_library(tmp_path):
    """All of the above in a copy of skn that has none."""
    if not native.loaded():
        pytest.skip("there is none: the tests above have run without it")
    shutil.copytree(REPOSITORY / "skn", tmp_path / "skn", ignore=shutil.ignore_patterns("__pycache__", "_native"))
    shutil.copytree(REPOSITORY / "kernels", tmp_path / "skn" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys, pytest\n"
        "from skn.ops import backends\n"
        "assert {backends.implementation(op, 'cpu') for op in backends.TABLE} == {'eager'}\n"
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    # No test here takes a fixture of conftest.py, which imports transformers.
    arguments = ("-q", "-x", "--noconftest", "-p", "no:cacheprovider", "-k", "not without_the_native_library", __file__)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
