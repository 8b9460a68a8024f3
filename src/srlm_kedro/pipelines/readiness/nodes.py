"""The node that turns all figures into verdicts, a table and a text."""

import pandas as pd

from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.readiness import verdicts
from srlm_kedro.pipelines.readiness.lines import Asked
from srlm_kedro.pipelines.readiness.measures import Figures
from srlm_kedro.pipelines.readiness.overview import overview
from srlm_kedro.pipelines.readiness.params import ReadinessParams
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.records import Checkpoint


def conclude(
    policy: Checkpoint,
    worded_figures: Figures,
    criteria_figures: Figures,
    answer_figures: Figures,
    writing_figures: Figures,
    eft_figures: Figures,
    training_figures: dict[str, Figures],
    loop: LoopParams,
    eft: EftParams,
    judging: JudgingParams,
    responses: ResponsesParams,
    prompts: PromptsParams,
    readiness: ReadinessParams,
) -> tuple[pd.DataFrame, str]:
    """`readiness_table`, one row a question, and `readiness_summary`, the text for a terminal."""
    asked = Asked(policy.name, loop, readiness, eft, judging, responses, prompts)
    figures = {
        "worded": worded_figures,
        "criteria": criteria_figures,
        "answers": answer_figures,
        "writing": writing_figures,
        "eft": eft_figures,
        "trainings": training_figures,
    }
    found = verdicts.lines(figures, asked)
    gain = verdicts.predicted(figures, asked)
    overall = verdicts.overall(found)
    told = verdicts.table([*found, *verdicts.closing(overall, gain)])
    return told, overview(verdicts.table(found), overall, gain, asked)
