"""Scores into rewards. Paper: section 3.1, the reward is the mean of the sampled scores."""

import pandas as pd


def with_rewards(responses: pd.DataFrame, read: pd.DataFrame, min_scores: int) -> pd.DataFrame:
    """`responses` with the mean and the number of the scores in `read`, row by row.

    A judgement without a score is no number: it enters no mean. A response with fewer scores than
    `min_scores` has no reward.
    """
    by_response = read.groupby("response_id")["score"].agg(["mean", "count"])
    own = by_response.reindex(responses["response_id"]).set_axis(responses.index)
    scores = own["count"].fillna(0).astype(int)
    # The last bits of a mean hang on the order of the sum; without them, equals do tie.
    reward = own["mean"].where(scores >= min_scores).round(9)
    return responses.assign(reward=reward, scores=scores)
