"""The inputs of the nodes, for different parameters `loop`."""

import pytest
from pydantic import ValidationError

from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.self_rewarding import compose, iteration, self_rewarding, step


def node(pipeline, name):
    return next(node for node in pipeline.nodes if node.name == name)


def test_dpo_starts_from_the_model_before_and_knows_no_other():
    """Paper: M_t is trained from M_(t-1) on AIFT(M_(t-1)) alone."""
    inputs = node(step(3, LoopParams()), "m3.train_dpo").inputs
    assert inputs[:3] == ["m2.model", "m3.pairs", "m3.checked"]


def test_nothing_trains_on_held_out_prompts_or_the_eft_eval_split():
    """Only evaluation reads them, and the corpus, which excludes them."""
    for made in self_rewarding(LoopParams()).nodes:
        if made.name.split(".")[-1].startswith("train"):
            assert not {"eval_prompts", "eft.eft_eval", "referee"} & set(made.inputs)
    readers = {n.name for n in self_rewarding(LoopParams()).nodes if "referee" in n.inputs}
    stages = {name.split(".")[-1] for name in readers}
    measuring = {"assess_responses", "compare_with_elders", "assess_candidates", "describe_prompts"}
    assert stages == measuring


def test_a_model_is_held_against_the_one_before_by_a_judge_that_stays_the_same():
    """M1 judges all of them, on the rankings that EFT held back; their answers are drawn once."""
    made = self_rewarding(LoopParams())
    for t in (1, 2, 3):
        drawn = node(made, f"m{t}.draw_validation_responses")
        assert drawn.inputs[:2] == [f"m{t}.model", "eft.eft_eval"]
        judged = node(made, f"m{t}.judge_validation_responses")
        assert judged.inputs[0] == "m1.model"
        assert "generation_engine" in judged.inputs
    scores = ["m3.validation_scores", "m2.validation_scores"]
    assert node(made, "m3.compare_with_previous").inputs[1:3] == scores
    outside = self_rewarding(LoopParams(compared_by="external"))
    judged = node(outside, "m2.judge_validation_responses")
    assert {"judge.model", "external_judge_engine"} <= set(judged.inputs)


@pytest.mark.parametrize("unasked", [False, "off"])
def test_models_need_not_be_compared(unasked):
    """Then the pipeline has no node of it; YAML reads a bare `off` as false."""
    loop = LoopParams(when_worse=unasked)
    modules = {n.func.__module__ for n in self_rewarding(loop).nodes}
    assert not [name for name in modules if name.startswith("srlm_kedro.pipelines.selection")]


def test_a_model_is_held_against_what_it_was_made_from():
    """Its movement is from the policy that was trained, and nothing that it is made of is studied
    before it is made.
    """
    made = self_rewarding(LoopParams())
    moved = node(made, "m3.measure_movement").inputs
    assert moved[:4] == ["m3.model", "m2.model", "m3.eval_responses", "m3.pairs"]
    back = self_rewarding(LoopParams(when_worse="best"))
    assert node(back, "m3.measure_movement").inputs[:2] == ["m3.model", "m2.best"]
    assert node(made, "sft.judge_own").inputs[:2] == ["sft.model", "sft.own_responses"]
    assert not [n for n in step(3, LoopParams()).nodes if "study" in n.func.__module__]


def test_nothing_need_be_studied():
    """Then the pipeline has no node of the study, and the report reads an empty table."""
    made = self_rewarding(LoopParams(study=False))
    assert not [n for n in made.nodes if "study" in n.func.__module__]
    assert "no_study" in node(made, "report.report").inputs


def test_a_loop_that_stops_waits_for_the_word_on_each_model_but_the_last():
    """Iteration 3 begins, and trains, after the guard over M2; nobody guards M1 or M3."""
    made = self_rewarding(LoopParams(when_worse="stop"))
    assert "m2.selection_checked" in node(made, "m3.write_prompts").inputs
    assert "m2.selection_checked" in node(made, "m3.gate").inputs
    assert [n.name for n in made.nodes if n.name.endswith("guard_next")] == ["m2.guard_next"]
    assert node(made, "m3.train_dpo").inputs[0] == "m2.model"
    assert node(iteration(4, 3, LoopParams(when_worse="stop")), "m3.guard_next")


def test_a_loop_that_goes_back_starts_from_the_best_so_far():
    """Policy, writer and judge of iteration 3 are the best of M1 and M2, which M3 must not fall
    behind; iteration 2 has M1 alone.
    """
    made = self_rewarding(LoopParams(when_worse="best"))
    for name in ("write_prompts", "draw_responses", "judge_candidates", "train_dpo"):
        assert node(made, f"m3.{name}").inputs[0] == "m2.best"
        assert node(made, f"m2.{name}").inputs[0] == "m1.model"
    assert node(made, "m3.compare_with_previous").inputs[2] == "m2.best_scores"
    assert node(made, "m3.choose_best").inputs[:2] == ["m3.model", "m2.best"]
    assert node(made, "m2.choose_best").inputs[:2] == ["m2.model", "m1.model"]


@pytest.mark.parametrize("answer", ["go_on", "stop", "off"])
def test_unless_it_goes_back_the_loop_makes_models_from_what_it_always_did(answer):
    """The inputs of sampling and training are the same, but for the guard's result."""

    def recipes(loop):
        words = ("no_metrics", "m2.selection_checked")
        return {
            n.name: [name for name in n.inputs if name not in words] for n in step(3, loop).nodes
        }

    made = recipes(LoopParams(when_worse=answer))
    assert made.pop("m2.guard_next", None) == (
        ["m2.model", "m2.selection_metrics"] if answer == "stop" else None
    )
    assert made == recipes(LoopParams())
    assert made["m3.train_dpo"][0] == "m2.model"


def test_soft_labels_do_not_go_with_steps_back():
    """After a step back both judges are the same model."""
    with pytest.raises(ValueError, match="when_worse"):
        LoopParams(soft_labels=True, when_worse="best")


@pytest.mark.parametrize(
    ("who", "judge", "engine"),
    [
        ("current", "m2.model", "generation_engine"),
        ("m1", "m1.model", "generation_engine"),
        ("external", "judge.model", "external_judge_engine"),
    ],
)
def test_the_judge_is_the_current_model_m1_or_one_from_outside(who, judge, engine):
    """An external judge has an engine of its own."""
    judging = node(step(3, LoopParams(judge=who)), "m3.judge_candidates")
    assert judging.inputs[0] == judge
    assert engine in judging.inputs
    assert "generation_engine" in node(step(3, LoopParams(judge=who)), "m3.draw_responses").inputs


def test_ranks_as_judgements_need_no_baseline():
    """M1 learns to judge from people's ranks, and no model writes them."""
    made = self_rewarding(LoopParams(eft="ranking"))
    assert node(made, "eft.rank_as_judged").inputs == ["eft.eft_pool"]
    assert not [n for n in made.nodes if n.name == "eft.judge_ranked"]


@pytest.mark.parametrize(("t", "elder"), [(2, "sft.model"), (3, "m1.model")])
def test_soft_labels_hang_on_two_judges(t, elder):
    """M_(t-1) and M_(t-2) judge the same responses before M_t is trained."""
    made = step(t, LoopParams(soft_labels=True))
    assert node(made, f"m{t}.judge_again").inputs[:2] == [elder, f"m{t}.responses"]
    assert f"m{t}.consistency_metrics" in node(made, f"m{t}.train_dpo").inputs


def test_soft_labels_want_a_judge_that_changes():
    """A frozen judge always agrees with itself."""
    with pytest.raises(ValueError, match="soft_labels"):
        LoopParams(soft_labels=True, judge="m1")


@pytest.mark.parametrize(
    ("who", "writer"),
    [("current", "m2.model"), ("m0", "m0.model"), ("fixed", "prompt_generator.model")],
)
def test_prompts_are_written_by_the_current_model_or_a_fixed_one(who, writer):
    """The paper's main runs use a fixed generator."""
    writing = node(step(3, LoopParams(prompt_generator=who)), "m3.write_prompts")
    assert writing.inputs[0] == writer


def test_without_eft_m1_learns_from_ift_alone():
    """The ablation: M1 never sees a judgement."""
    m1 = node(self_rewarding(LoopParams(eft="none")), "m1.train_sft")
    assert "eft.eft_train" not in m1.inputs
    assert "eft.eft_train" in node(self_rewarding(LoopParams()), "m1.train_m1").inputs
    made = {n.name for n in self_rewarding(LoopParams(eft="none")).nodes}
    assert "eft.split_eft" in made
    assert not {"eft.judge_ranked", "eft.select_eft"} & made


def test_positives_only_trains_from_m0_without_pairs():
    """The control without preferences adds full-score responses to the seed data."""
    made = node(step(2, LoopParams(update="positives")), "m2.train_on_positives")
    assert made.inputs[:4] == ["m0.model", "ift", "eft.eft_train", "m2.judged_responses"]


def test_a_later_iteration_makes_one_model_only():
    """M4 is made from M3 as it lies on disk."""
    made = {n for n in iteration(4, 3, LoopParams()).all_outputs() if n.endswith(".model")}
    assert made == {"m4.model"}


def test_an_empty_project_gets_its_groundwork_first():
    """The first iteration makes M0, the baseline and M1 too."""
    made = {n for n in iteration(2, 0, LoopParams()).all_outputs() if n.endswith(".model")}
    assert made == {"m0.model", "sft.model", "m1.model", "m2.model"}


def test_m0_is_ready_unless_it_is_to_be_pretrained_or_given():
    """The node that makes it depends on the parameters."""
    makers = {
        name: [n.name for n in self_rewarding(loop).nodes if "m0.model" in n.outputs]
        for name, loop in {
            "ready": LoopParams(),
            "pretrained": LoopParams(pretrain=True),
            "given": LoopParams(world="given"),
        }.items()
    }
    assert makers == {"ready": ["m0.take_m0"], "pretrained": ["m0.train_m0"], "given": []}
    with pytest.raises(ValueError, match="`world: given` has one"):
        LoopParams(world="given", pretrain=True)


CONTRADICTIONS = [
    ({"eft": "labels"}, "needs `judge_form: criteria`"),
    ({"eft": "ranking", "judge_form": "criteria"}, "use `eft: labels` or `eft: baseline`"),
    (
        {"eft": "labels", "judge_form": "criteria", "seed_data": "oasst", "world": "given"},
        "which OASST does not have",
    ),
    ({"soft_labels": True, "reward": "checked"}, "`reward` must be judge"),
    ({"soft_labels": True, "reward": "both"}, "`reward` must be judge"),
    ({"reward": "checked", "judge": "external"}, "`judge: external` would have no effect"),
    ({"reward": "checked", "judge": "m1"}, "`judge: m1` would have no effect"),
    ({"pretrain": True, "world": "verifiable"}, "`world: verifiable` has one"),
    ({"update": "positives", "judge_form": "criteria"}, "its points are probabilities"),
    (
        {"update": "positives", "judge_form": "criteria", "reward": "both"},
        "its points are probabilities",
    ),
]


@pytest.mark.parametrize(("given", "fault"), CONTRADICTIONS)
def test_parameters_that_contradict_each_other_are_refused(given, fault):
    """With the value that goes."""
    with pytest.raises(ValidationError, match=fault):
        LoopParams(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"judge_form": "criteria", "eft": "labels", "world": "verifiable"},
        {"judge_form": "criteria", "eft": "none", "soft_labels": True},
        {"judge_form": "criteria", "reward": "both", "judge": "external"},
        {"update": "positives", "judge_form": "criteria", "reward": "checked"},
        {"eft": "ranking", "reward": "checked"},
    ],
)
def test_what_goes_together_is_accepted(given):
    """A pipeline comes of it."""
    assert self_rewarding(LoopParams(**given)).nodes


def test_every_judge_is_asked_in_the_same_form():
    """By criteria all of them read `criteria_prompt`, and nobody a template for judgements."""
    made = self_rewarding(LoopParams(judge_form="criteria", eft="labels", world="verifiable"))
    assert "judge_prompt" not in made.inputs()
    readers = {n.name.split(".")[-1] for n in made.nodes if "criteria_prompt" in n.inputs}
    assert readers == {
        *("write_prompts", "judge_candidates", "reward_responses", "select_labelled"),
        *("judge_eft_eval", "judge_own", "judge_validation_responses", "check_lengths"),
    }
    assert "criteria_prompt" not in self_rewarding(LoopParams()).inputs()


@pytest.mark.parametrize("reward", ["judge", "checked", "both"])
def test_the_checker_rewards_only_where_it_is_asked_to(reward):
    """By default nothing that leads to a model reads it."""
    loop = LoopParams(judge_form="criteria", eft="labels", world="verifiable", reward=reward)
    made = self_rewarding(loop)
    readers = {n.name.split(".")[-1] for n in made.nodes if "checker" in n.inputs}
    assert (
        readers
        == {
            "judge": set(),
            "checked": {"check_candidates"},
            "both": {"judge_and_check"},
        }[reward]
    )
    assert "m2.pairs" in made.all_outputs()
    trains = [n for n in made.nodes if n.name.split(".")[-1].startswith("train")]
    assert not any({"checker", "referee"} & set(n.inputs) for n in trains)


def test_the_seed_data_of_verifiable_instructions_are_made_by_their_own_pipeline():
    """It asks M0 and the programs; the loop itself does not make them."""
    loop = LoopParams(judge_form="criteria", eft="labels", world="verifiable")
    made = compose(loop)["seed_data"]
    assert {"ift_seed", "eft_seed", "eval_prompts"} <= made.all_outputs()
    assert {"m0.model", "checker", "generation_engine"} <= made.inputs()
    assert {"ift_seed", "eft_seed"} <= self_rewarding(loop).inputs()
    assert "checker" not in compose(LoopParams())["seed_data"].inputs()


def tried(name="m1", **loop):
    return compose(LoopParams(**loop), name)["readiness"]


def test_readiness_asks_the_model_that_it_is_told():
    """M0 is made where the project makes it; nothing is trained, and no other model is read."""
    made = tried("m0")
    assert {n.name for n in made.nodes} >= {"m0.take_m0", "try_writing", "conclude"}
    assert not [n for n in made.nodes if n.name.split(".")[-1].startswith("train")]
    other = tried("m1")
    assert [name for name in sorted(other.inputs()) if name.endswith(".model")] == ["m1.model"]
    given = tried("m0", world="given", seed_data="oasst")
    assert {"m0.model", "oasst_messages"} <= given.inputs()


def test_readiness_asks_the_judge_and_the_writer_of_the_loop():
    """Another judge by its own engine, another writer, and the loop's form of judging."""
    external = node(tried(judge="external"), "judge_in_words").inputs
    assert {"judge.model", "external_judge_engine"} <= set(external)
    fixed = node(tried(prompt_generator="fixed"), "try_writing").inputs
    assert fixed[:2] == ["prompt_generator.model", "m1.model"]
    worded = tried()
    assert "judge_prompt" in node(worded, "judge_own_answers").inputs
    assert node(worded, "judge_by_criteria").inputs[1] == "readiness_other_rankings"
    criteria = tried(judge_form="criteria")
    assert "criteria_prompt" in node(criteria, "judge_own_answers").inputs
    assert node(criteria, "judge_by_criteria").inputs[1] == "readiness_rankings"
    assert "criteria_prompt" in node(criteria, "try_writing").inputs


@pytest.mark.parametrize(("reward", "reads"), [("judge", False), ("checked", True), ("both", True)])
def test_readiness_rewards_as_the_loop_does(reward, reads):
    """By the judge, the checker, or both."""
    assert ("checker" in node(tried(reward=reward), "judge_own_answers").inputs) == reads
