"""Where each architecture has dropout."""

import pytest
from transformers import GPT2Config, LlamaConfig, MambaConfig

from srlm_kedro.engines.training.trl.policy import dropout_fields, load_policy
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint


class TestDropoutFields:
    def test_names_by_architecture(self):
        """Llama has dropout only on attention, GPT-2 in three places without that of its head."""
        assert dropout_fields(LlamaConfig()) == ["attention_dropout"]
        assert sorted(dropout_fields(GPT2Config())) == ["attn_pdrop", "embd_pdrop", "resid_pdrop"]

    def test_architecture_without_dropout_is_refused(self, tmp_path):
        """A parameter that would have no effect is an error."""
        MambaConfig().save_pretrained(tmp_path)
        with pytest.raises(InputError, match="mamba has no dropout"):
            load_policy(Checkpoint(tmp_path, "m0"), dropout=0.1)
