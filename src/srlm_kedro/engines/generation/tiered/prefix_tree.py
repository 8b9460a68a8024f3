"""What prompts share with one another, as a tree of prefixes: each of its tokens is computed once.

Criteria of one response differ only at the end of their prompts, and responses to one instruction
differ only after it. So prompts share prefixes of several lengths.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from srlm_kedro.engines.generation.tiered.tiered_rows import PREFILL_TOKENS

WORTH_SHARING = 16
"""Tokens of a common prefix from which on computing it once saves more than it costs."""
PADDED_TOKENS = 4 * PREFILL_TOKENS
"""Most cells of a pass's grid, in which each node is as wide as the widest."""


@dataclass(frozen=True)
class Node:
    """Some consecutive tokens of a prompt, and of all prompts that go on from them."""

    prompt: int
    """One of these prompts."""
    start: int
    stop: int
    above: tuple[int, ...]
    """For each level above, from the root on: which of its inner nodes the tokens go on from."""
    leaf: bool
    """Whether its prompt ends here; no other one goes through a leaf."""

    @property
    def tokens(self) -> int:
        """How many it has."""
        return self.stop - self.start


def tree_levels(prompts: Sequence[Sequence[int]]) -> list[list[Node]]:
    """The levels of the tree, the root's first; on each level, nodes are in the prompts' order.

    Prompts that share fewer than `WORTH_SHARING` tokens after a node are computed separately.

    Args:
        prompts: Token ids, sorted and distinct. The last token of each is in its own leaf.
    """
    common = [0, *(_common(one, other) for one, other in pairwise(prompts))]
    levels: list[list[Node]] = []
    waiting: list[tuple[range, int, tuple[int, ...]]] = [(range(len(prompts)), 0, ())]
    while waiting:
        nodes, further, inner = [], [], 0
        for members, start, above in waiting:
            for run in _runs(members, start, common):
                leaf = len(run) == 1
                stop = len(prompts[run[0]]) if leaf else min(common[place] for place in run[1:])
                nodes.append(Node(run[0], start, stop, above, leaf))
                if not leaf:
                    further.append((run, stop, (*above, inner)))
                    inner += 1
        levels.append(nodes)
        waiting = further
    return levels


def passes(nodes: Sequence[Node], leaves: int) -> Iterator[list[Node]]:
    """Nodes of one level that are computed together: at least one, and few enough for memory.

    Args:
        nodes: All nodes of the level.
        leaves: Most leaves together, since each of them gets logits.
    """
    part: list[Node] = []
    tokens = widest = ends = 0
    for node in nodes:
        tokens, widest, ends = tokens + node.tokens, max(widest, node.tokens), ends + node.leaf
        padded = (len(part) + 1) * widest
        if part and (tokens > PREFILL_TOKENS or padded > PADDED_TOKENS or ends > leaves):
            yield part
            part, tokens, widest, ends = [], node.tokens, node.tokens, int(node.leaf)
        part.append(node)
    if part:
        yield part


def _runs(members: range, start: int, common: Sequence[int]) -> Iterator[range]:
    """Neighbours that share enough after `start`, as runs; a run of one shares with no other."""
    first = members.start
    for place in members[1:]:
        if common[place] - start < WORTH_SHARING:
            yield range(first, place)
            first = place
    yield range(first, members.stop)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that two prompts share; the last token of each is its own."""
    most = min(len(one), len(other)) - 1
    return next((place for place in range(most) if one[place] != other[place]), most)
