"""SFT and DPO by TRL's trainers."""

from srlm_kedro.engines.training.trl.engine import TrlEngine

__all__ = ["TrlEngine"]
