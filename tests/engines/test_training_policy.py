"""Where dropout goes, by architecture."""

import pytest
from transformers import GPT2Config, LlamaConfig, MambaConfig

from srlm_kedro.engines.training.trl.policy import dropout_fields, load_policy
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint


class TestDropoutFields:
    def test_names_by_architecture(self):
        """Llama has dropout on attention alone; GPT-2 on three places, its summary head aside."""
        assert dropout_fields(LlamaConfig()) == ["attention_dropout"]
        assert sorted(dropout_fields(GPT2Config())) == ["attn_pdrop", "embd_pdrop", "resid_pdrop"]

    def test_architecture_without_dropout_is_refused(self, tmp_path):
        """A knob that would do nothing is an error, not a silence."""
        MambaConfig().save_pretrained(tmp_path)
        with pytest.raises(InputError, match="mamba has no dropout"):
            load_policy(Checkpoint(tmp_path, "m0"), dropout=0.1)
