"""A parameter that nothing would read in a run is refused, and taken where something reads it."""

import pytest

from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.running.parameter_faults import READ_BY, unused_faults

GIVEN = {"world": "given"}
VERIFIABLE = {"world": "verifiable", "seed_data": "files"}


@pytest.mark.parametrize(
    ("parameter", "loop", "pipelines", "is_read"),
    [
        ("model", {}, ["__default__"], False),
        ("model", GIVEN, ["__default__"], True),
        ("model", VERIFIABLE, ["__default__"], True),
        ("referee", {}, ["__default__"], False),
        ("referee", VERIFIABLE, ["__default__"], False),
        ("referee", GIVEN, ["__default__"], True),
        ("oasst_file", GIVEN, ["__default__"], False),
        ("oasst_file", {**GIVEN, "seed_data": "oasst"}, ["__default__"], True),
        ("ifeval_file", VERIFIABLE, ["__default__"], False),
        ("ifeval_file", VERIFIABLE, ["benchmarks"], True),
        ("ifeval_file", {**VERIFIABLE, "eval_sets": ["ifeval_prompts"]}, ["__default__"], True),
        ("iteration", {}, ["__default__"], False),
        ("iteration", {}, ["iteration"], True),
    ],
)
def test_what_nothing_reads_is_refused(parameter, loop, pipelines, is_read):
    """Each rule where it holds and where it does not."""
    faults = unused_faults({parameter: "x"}, LoopParams(**loop), pipelines)
    unread = f"parameter `{parameter}`: nothing reads it in this run. {READ_BY[parameter]}"
    assert faults == ([] if is_read else [unread])


def test_a_model_for_an_environment_that_only_names_places_tells_how_they_are_combined():
    """`--env=cluster` alone is the microworld's loop."""
    (fault,) = unused_faults({"model": "x"}, LoopParams(), ["__default__"])
    assert "`--env=one_gpu+cluster`" in fault


def test_what_is_not_given_is_no_fault():
    """Whatever the loop."""
    assert unused_faults({}, LoopParams(), ["__default__"]) == []
