"""A parameter that nothing would read in a run is refused, and taken where something reads it."""

import pytest

from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.running.parameter_faults import unused_faults

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
    assert faults == (
        []
        if is_read
        else [
            f"parameter `{parameter}`: nothing reads it in this run; see `--env` and `--pipeline`"
        ]
    )


def test_what_is_not_given_is_no_fault():
    """Whatever the loop."""
    assert unused_faults({}, LoopParams(), ["__default__"]) == []
