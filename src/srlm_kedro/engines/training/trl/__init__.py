"""SFT and DPO by TRL's trainers."""
