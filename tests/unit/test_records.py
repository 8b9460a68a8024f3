"""Handles and seeds."""

from pathlib import Path

import pytest

from srlm_kedro.records import Checkpoint, derive_seed


@pytest.mark.parametrize(("name", "t"), [("m0", 0), ("m1", 1), ("m12", 12), ("sft", 0), ("mx", 0)])
def test_checkpoint_knows_its_place_in_the_chain(name, t):
    """`m3` is iteration 3; models outside the chain count as 0."""
    assert Checkpoint(Path("x"), name).iteration == t


def test_derived_seeds_depend_on_seed_and_labels_alone():
    """The same labels always give the same seed; other labels give another one."""
    assert derive_seed(0, "m2", "dpo") == derive_seed(0, "m2", "dpo")
    assert len({derive_seed(0, "a"), derive_seed(1, "a"), derive_seed(0, "b")}) == 3
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")
