"""A tree of what prompts share: it holds every prompt, and gives each one its own logits."""

import copy
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.engines.generation.tiered import prefix_tree
from srlm_kedro.engines.generation.tiered.planning import Costs, tree_bytes
from srlm_kedro.engines.generation.tiered.prefix_tree import (
    PADDED_TOKENS,
    WORTH_SHARING,
    passes,
    tree_levels,
)
from srlm_kedro.engines.generation.tiered.strategies import refusal_of_tiers
from srlm_kedro.engines.generation.tiered.tiered_rows import PREFILL_TOKENS
from srlm_kedro.engines.generation.tiered.tree_rows import logits_after
from tests.engines.test_tiers import ALIKE, model_of

PIECES = st.lists(st.integers(0, 2), min_size=1, max_size=6)


def prompts_of(lists, length):
    """Sorted prompts that share pieces of so many tokens."""
    return sorted({tuple(piece for piece in one for _ in range(length)) for one in lists})


def whole(prompts, levels, node):
    """All tokens from the root to this node's end."""
    places = [
        [each for each in level if not each.leaf][place]
        for level, place in zip(levels, node.above, strict=False)
    ]
    path = [*places, node]
    return [t for each in path for t in prompts[each.prompt][each.start : each.stop]]


@given(st.lists(PIECES, min_size=1, max_size=12), st.sampled_from([1, 5, 16, 40]))
def test_each_prompt_is_a_path_to_a_leaf(lists, length):
    """Positions follow on each other, and an inner node is worth sharing."""
    prompts = prompts_of(lists, length)
    levels = tree_levels(prompts)
    leaves = [node for level in levels for node in level if node.leaf]
    assert sorted(node.prompt for node in leaves) == list(range(len(prompts)))
    assert all(tuple(whole(prompts, levels, node)) == prompts[node.prompt] for node in leaves)
    for depth, level in enumerate(levels):
        assert all(len(node.above) == depth and node.tokens > 0 for node in level)
        assert all(node.tokens >= WORTH_SHARING for node in level if not node.leaf)
        assert [node.prompt for node in level] == sorted(node.prompt for node in level)


def test_shared_tokens_are_held_once():
    """A rubric, two responses of it, and a prompt that only begins like the rubric."""
    rubric, one, other = [1] * 30, [2] * 20, [3] * 25
    texts = [rubric + body + [end] for body in (one, other) for end in (4, 5, 6)]
    prompts = sorted(map(tuple, [*texts, [*rubric[:10], 7]]))
    levels = tree_levels(prompts)
    assert [[node.tokens for node in level] for level in levels] == [
        [30, 11],
        [20, 25],
        [1] * 6,
    ]


def test_a_prompt_that_another_one_goes_on_from_keeps_its_last_token():
    """Its logits need a pass of its own."""
    prompts = [(1,) * 40, (1,) * 41]
    levels = tree_levels(prompts)
    assert [[node.tokens for node in level] for level in levels] == [[39], [1, 2]]


def test_passes_are_bounded():
    """By tokens, by cells of the grid, and by logits; a node is never cut."""
    prompts = sorted((number,) * size for number, size in enumerate([1500, *[3] * 1200, 700]))
    (nodes,) = tree_levels(prompts)
    parts = list(passes(nodes, leaves=200))
    assert [node for part in parts for node in part] == nodes
    for part in parts:
        sizes = [node.tokens for node in part]
        assert len(part) == 1 or (sum(sizes) <= PREFILL_TOKENS and len(part) <= 200)
        assert len(part) == 1 or len(part) * max(sizes) <= PADDED_TOKENS
    assert len(parts) == 1 + 6 + 1


def test_memory_grows_with_what_is_kept():
    """Twice the responses need twice the keys and values."""
    costs = Costs(token=1000, draw=0, passing=0, score=0, queries=64)

    def needed(count):
        texts = [(n,) * 50 + (end,) for n in range(count) for end in (100, 101)]
        return tree_bytes(costs, tree_levels(sorted(texts)))

    assert needed(8) == 2 * needed(4) == 8 * 50 * 1000


@pytest.mark.parametrize("kind", ALIKE)
@torch.inference_mode()
def test_logits_are_those_of_each_prompt_alone(tmp_path, monkeypatch, kind):
    """Trees of several depths, in passes of one node or of many."""
    model = model_of(tmp_path, kind, initializer_range=0.2, **ALIKE[kind])
    alone = copy.deepcopy(model)
    assert refusal_of_tiers(model) is None
    chance = random.Random(0)
    pieces = [[chance.randrange(40) for _ in range(size)] for size in (5, 9, 3, 7)]
    paths = [[chance.randrange(4) for _ in range(chance.randint(1, 6))] for _ in range(30)]
    prompts = sorted({tuple(t for piece in path for t in pieces[piece]) for path in paths})
    expected = torch.stack([alone(torch.tensor([row])).logits[0, -1] for row in prompts])
    for worth, leaves in ((1, 100), (4, 3), (1000, 100), (2, 1)):
        monkeypatch.setattr(prefix_tree, "WORTH_SHARING", worth)
        found = torch.full_like(expected, torch.nan)
        for places, logits in logits_after(model, prompts, leaves):
            assert len(places) <= leaves
            found[places] = logits
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
