"""digest: equal to its definition to the bit on every path, and different wherever a tensor is."""

import pytest
import torch
from levels import LEVELS, at_level, default, skip_unavailable, threads

from skn import ops
from skn.ops import reference_digest

BLOCK = 8 * reference_digest.ROW * reference_digest.BLOCK_ROWS  # bytes
SIZES = (0, 1, 7, 8, 255, 256, 257, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 300)
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.int32, torch.int8)


@pytest.fixture(params=(*LEVELS, "eager"))
def digest(request):
    skip_unavailable(request.param)
    return default("digest") if request.param == "eager" else at_level(request.param, "digest")


def random_bytes(count, seed=0):
    return torch.randint(256, (count,), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def all_different(tensors):
    return len(ops.digest(tensors).unique()) == len(tensors)


def edited(tensor, *edits):
    """The tensor, and a copy of it after each edit."""
    copies = [tensor.clone() for _ in edits]
    for copy, edit in zip(copies, edits, strict=True):
        edit(copy)
    return [tensor, *copies]


def test_every_path_gives_the_digest_of_the_definition(digest):
    tensors = [random_bytes(size, size) for size in SIZES]
    found = digest(tensors)
    assert found.dtype == torch.int64 and torch.equal(found, reference_digest.digest(tensors))


def test_the_definition_in_whole_numbers():
    def step(digest, word):
        both = digest ^ word
        return (both ^ both >> 32) * reference_digest.FACTOR % 2**64

    columns = [step(0, i + 1) for i in range(32)]
    columns = [step(digest, -5 % 2**64 if i == 0 else 0) for i, digest in enumerate(columns)]
    block = 0
    for column in columns:
        block = step(block, column)
    assert ops.digest([torch.tensor(-5)]).item() % 2**64 == step(8, block)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bool], ids=str)
def test_dtypes_shapes_and_strides_do_not_count(digest, dtype):
    tensor = (random_bytes(24 * 35) % 3).view(24, 35).to(dtype)
    memory = tensor.flatten().view(torch.uint8)
    behind_a_byte = torch.cat([memory.new_zeros(1), memory])[1:]
    by_column = tensor.T.contiguous().T
    expanded = tensor[:1].expand(4, 35)
    found = digest([tensor, memory, behind_a_byte, by_column, expanded, expanded.contiguous()])
    assert len(found[:4].unique()) == 1 and found[4] == found[5] != found[0]


def test_one_bit_anywhere_counts():
    tensor = random_bytes(700)
    flips = (torch.eye(700, dtype=torch.uint8)[:, None] << torch.arange(8)[:, None]).to(torch.uint8).flatten(0, 1)
    assert all_different([tensor, *(tensor ^ flips)])
    long = random_bytes(2 * BLOCK + 300)
    places = (0, 1, 255, 256, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 299)
    assert all_different(
        edited(long, *(lambda t, at=at, bit=bit: t[at].bitwise_xor_(bit) for at in places for bit in (1, 128)))
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_places_and_signs_count(dtype):
    """Signs are the highest bits of words: in a sum of products, two changed signs would cancel each other."""
    tensor = (random_bytes(400 * 96).view(400, 96) % 100 + 1).to(dtype)
    rows = ((0, 1), (0, 399), (7, 200))
    pairs = [((0, 3), (0, 4)), ((0, 3), (0, 7)), ((0, 0), (1, 0)), ((5, 95), (6, 0)), ((2, 1), (399, 95))]
    # of words that are neighbours in a column of the digest: 256 bytes apart
    pairs += [((0, i), divmod(256 // tensor.element_size() + i, 96)) for i in range(4)]
    edits = [
        lambda t: t.copy_(t.flip(0)),
        lambda t: t.copy_(t.roll(1)),
        lambda t: t.copy_(t.roll(1, 0)),
        lambda t: t[399].zero_(),
        lambda t: t.neg_(),
        *(lambda t, a=a, b=b: t.index_copy_(0, torch.tensor([a, b]), t[[b, a]]) for a, b in rows),
        *(lambda t, at=at: t[at].neg_() for at in range(400)),
        *(lambda t, a=a, b=b: (t[a].neg_(), t[b].neg_()) for a, b in pairs),
    ]
    assert all_different(edited(tensor, *edits))


def test_zeros_at_the_end_count():
    assert all_different([torch.zeros(size, dtype=torch.uint8) for size in SIZES])


def test_whole_blocks_that_change_places_count():
    blocks = [random_bytes(BLOCK, seed) for seed in range(3)]
    orders = ((0, 1, 2), (1, 0, 2), (0, 2, 1), (0, 1, 1), (0, 1))
    assert all_different([torch.cat([blocks[i] for i in order]) for order in orders])


def test_the_number_of_threads_does_not_count(digest):
    tensors = [random_bytes(size, size) for size in (3, 3 * BLOCK + 5, 0, 900, BLOCK)]
    found = []
    for count in (1, 2, 3):
        with threads(count):
            found.append(digest(tensors).tolist())
    assert found[0] == found[1] == found[2]


def test_what_is_refused(digest):
    with pytest.raises(RuntimeError, match="digest: expected at least one tensor"):
        digest([])
    with pytest.raises(RuntimeError, match="digest: tensors must be on one device"):
        ops.digest([torch.zeros(1), torch.zeros(1, device="meta")])
    with pytest.raises(RuntimeError):
        digest([torch.eye(2).to_sparse()])
