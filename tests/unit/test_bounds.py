"""Every number that somebody can set has bounds, and none is endless."""

import importlib
import math
import pkgutil
from decimal import Decimal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

import srlm_kedro.pipelines
from srlm_kedro.commands.bounds import Number, numbers_of, parameter_numbers
from srlm_kedro.engines.generation.base import Sampling, StageSampling
from srlm_kedro.engines.training.params import DpoParams, LoraParams, PretrainParams, SftParams
from srlm_kedro.microworld.params import CorpusParams
from srlm_kedro.params import Params, Schedule
from srlm_kedro.pipeline_registry import register_pipelines
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.prompts.params import FilterParams, PromptsParams
from srlm_kedro.pipelines.published.lm_eval import AlignmentParams
from srlm_kedro.pipelines.responses import CandidateSampling
from srlm_kedro.running.parameter_faults import parameter_types


def every_model():
    """All classes of parameters that the project has, used in a pipeline or not."""
    for module in pkgutil.walk_packages(srlm_kedro.pipelines.__path__, "srlm_kedro.pipelines."):
        if module.name.rpartition(".")[2] in ("params", "loop"):
            importlib.import_module(module.name)
    found, waiting = [], [Params]
    while waiting:
        waiting += (below := waiting.pop().__subclasses__())
        found += [one for one in below if one.__module__.startswith("srlm_kedro.")]
    return sorted(set(found), key=lambda one: f"{one.__module__}.{one.__name__}")


@pytest.mark.parametrize("model", every_model(), ids=lambda model: model.__name__)
def test_every_number_of_every_model_has_bounds(model):
    """Also those in lists, under the keys of a mapping, and in models within models."""
    without = [one.name for one in numbers_of(model.__name__, model) if not (one.low and one.high)]
    assert without == []


@pytest.mark.parametrize("model", every_model(), ids=lambda model: model.__name__)
def test_no_model_takes_endless_numbers(model):
    """The rule of all of them, which none takes back."""
    assert model.model_config["allow_inf_nan"] is False


def test_every_parameter_of_a_run_has_bounds():
    """`seed`, `iteration` and `keep_models` too; the groups are those that a run knows."""
    groups = parameter_numbers(parameter_types(register_pipelines()))
    assert {"dpo", "seed", "iteration", "keep_models", "oasst", "loop"} <= set(groups)
    numbers = [one for group in groups.values() for one in group]
    assert len(numbers) > 150
    assert [one.name for one in numbers if not (one.low and one.high)] == []


class Inner(Params):
    free: float = 1.0


class Forgetful(Params):
    listed: Schedule[int] = (1,)
    keyed: dict[str, Inner] = Field({})
    pair: tuple[float, float] = (0.0, 1.0)
    exact: Decimal = Decimal(1)
    maybe: Inner | None = None


def test_the_list_finds_a_number_wherever_it_stands():
    """So a knob that forgets its bounds is found by the tests above."""
    found = numbers_of("x", Forgetful)
    assert {one.name for one in found} == {
        *("x.listed[]", "x.keyed.*.free", "x.pair[0]", "x.pair[1]", "x.exact", "x.maybe.free")
    }
    assert {one.low + one.high for one in found} == {""}
    assert Number("x", True, "0 <", "<= 1").bounds == "0 < x <= 1"


ENDLESS = [math.nan, math.inf, -math.inf, "nan", "inf"]


@pytest.mark.parametrize("value", ENDLESS, ids=str)
@pytest.mark.parametrize(
    ("model", "given"),
    [
        (DpoParams, lambda value: {"beta": value}),
        (DpoParams, lambda value: {"beta": [0.1, value]}),
        (SftParams, lambda value: {"lora": {"alpha": value}}),
        (PretrainParams, lambda value: {"course": [[0, 0], [0.5, value], [1, 1]]}),
        (AlignmentParams, lambda value: {"limits": {"gsm8k": {"stop": value}}}),
        (CorpusParams, lambda value: {"checked_requests": [value, 0.5]}),
        (FilterParams, lambda value: {"max_rouge_l": value}),
    ],
)
def test_nan_and_infinity_are_refused_wherever_they_stand(model, given, value):
    """They pass every comparison, and are found in no log until a loss is one."""
    with pytest.raises(ValidationError):
        model.model_validate(given(value))


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (DpoParams, {"beta": 0}),
        (DpoParams, {"beta": -1}),
        (DpoParams, {"learning_rate": [1e-6, -1e-6]}),
        (DpoParams, {"label_smoothing": 0.5}),
        (SftParams, {"learning_rate": 3}),
        (LoraParams, {"rank": 0}),
        (PromptsParams, {"count": -5}),
        (PromptsParams, {"count": [100, 0]}),
        (Sampling, {"temperature": -0.1}),
        (JudgingParams, {"retries": -1}),
    ],
)
def test_numbers_out_of_bounds_are_refused(model, given):
    """A beta below 0 trains towards the rejected; at 0 nothing is learnt."""
    with pytest.raises(ValidationError):
        model.model_validate(given)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (JudgingParams, {"retries": True}),
        (DpoParams, {"beta": [0.1, True]}),
        (FilterParams, {"max_rouge_l": True}),
        (EftParams, {"eval_prompts": False}),
    ],
)
def test_true_is_no_number(model, given):
    """YAML reads `yes` as true, which pydantic would take for 1."""
    with pytest.raises(ValidationError, match="not true or false"):
        model.model_validate(given)
    assert DpoParams(length_normalised=True).length_normalised


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (CandidateSampling, {"temperature": 0}, "temperature = 0 .* n = 4 times"),
        (StageSampling, {"min_new_tokens": 9, "max_new_tokens": 8}, "9 is above max_new_tokens"),
        (DpoParams, {"batch_size": 16, "micro_batch_size": 3}, "no multiple of micro_batch_size"),
        (DpoParams, {"learning_rate": 1e-6, "min_learning_rate": 2e-6}, "is above learning_rate"),
        (DpoParams, {"learning_rate": [2e-6, 5e-7], "min_learning_rate": 1e-6}, "rate = 5e-07"),
        (DpoParams, {"min_learning_rate": [1e-7, 2e-6]}, "2e-06 is above learning_rate = 1e-06"),
        (SftParams, {"learning_rate": 1e-6, "min_learning_rate": 2e-6}, "is above learning_rate"),
        (PretrainParams, {"hidden_size": 128, "heads": 3}, "no multiple of heads = 3"),
        (FilterParams, {"min_words": 9, "max_words": 8}, "every prompt would be refused"),
        (PromptsParams, {"count": [9, 3], "min_accepted": 5}, "count = 3 cannot give"),
        (PromptsParams, {"max_written": 3, "sampling": {"n": 4}}, "leaves no room for one draw"),
        (JudgingParams, {"min_scores": 4}, "no response could get a reward"),
        (AlignmentParams, {"every": {"warn": 5, "stop": 3}}, "nobody would be warned"),
    ],
)
def test_values_that_contradict_each_other_are_refused(model, given, said):
    """Both are named: who reads it knows which of them to change."""
    with pytest.raises(ValidationError, match=said):
        model.model_validate(given)


KNOBS = [one for one in every_model() if issubclass(one, Sampling) and one is not Sampling]


@pytest.mark.parametrize("sampling", KNOBS, ids=lambda model: model.__name__)
def test_no_stage_draws_the_same_text_several_times(sampling):
    """Candidates that are all alike make no pair; judgements that are make no better mean."""
    with pytest.raises(ValidationError, match=r"temperature = 0 draws one|less than or equal to 1"):
        sampling(n=2, temperature=0)


def test_defaults_follow_the_values_that_they_hang_on():
    """Nobody is refused for a value that they never set."""
    assert DpoParams(batch_size=24).micro_batch_size == 12
    assert DpoParams(batch_size=4).micro_batch_size == 4
    assert DpoParams(batch_size=17).micro_batch_size == 1
    assert DpoParams(learning_rate=[1e-6, 5e-8]).min_learning_rate == (1e-7, 5e-8)
    assert SftParams(learning_rate=1e-7).min_learning_rate == 1e-7


def test_a_later_rate_changes_no_earlier_iteration():
    """M2 ends at its own rate's minimum, whatever M3 is given."""
    gentle = DpoParams(learning_rate=[1e-6, 5e-8])
    assert gentle.recipe(2, engine=True) == DpoParams().recipe(2, engine=True)
    assert gentle.recipe(3, engine=True)["min_learning_rate"] == 5e-8


def test_defaults_are_the_papers_where_they_may_be():
    """What is not set is as it was."""
    assert DpoParams().min_learning_rate == (1e-7,)
    assert SftParams().min_learning_rate == 1.1e-6
    assert DpoParams().micro_batch_size == SftParams().micro_batch_size == 16


@pytest.mark.parametrize(("name", "value"), [("seed", 2**63), ("iteration", 0), ("keep_models", 0)])
def test_plain_parameters_have_bounds_too(name, value):
    """They are typed by hand more often than any other."""
    kind = parameter_types(register_pipelines())[name]
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)
