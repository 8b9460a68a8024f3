"""The package `self-rewarding-lm-pytorch`, on the same weights and prompts.

It keeps no keys and values: every token is drawn behind a forward pass over all tokens before it,
with the logits of each. It takes one response, or one prompt, at a time with all its samples. Its
own parser of rewards raises on every judgement that holds one, so it is given another, which its
configuration allows.
"""

import importlib.util
import tempfile
import warnings
from typing import Any

import torch

from benchmarks import models
from benchmarks.rounds import Setting
from benchmarks.work import Work, middle

PACKAGE = "self-rewarding-lm-pytorch"
INSTALLED = importlib.util.find_spec("self_rewarding_lm_pytorch") is not None


class _Logits(torch.nn.Module):
    """A Hugging Face model in the form the package asks for: token ids in, logits out."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of every position."""
        return self.model(ids, use_cache=False).logits


class Lucidrains:
    """The package's sampler and its judge."""

    def __init__(self, work: Work, setting: Setting):
        self._work, self._device = work, setting.device
        self._net = _Logits(models.read(work.checkpoint, "float32", setting.device))
        self._rows = work.ids()  # Outside the clock, as imports are.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of its regular expressions, at import.
            import self_rewarding_lm_pytorch.self_rewarding_lm_pytorch as package
        from accelerate import Accelerator

        self._package, self._accelerator = package, Accelerator

    def warm_up(self) -> None:
        """One forward pass; a whole turn takes many seconds."""
        with torch.no_grad():
            self._net(torch.tensor(middle(self._rows, 1), device=self._device))

    def judge(self, prompts: int) -> float:
        """`DPODatasetGenerator.generate_reward` of each response; tokens drawn."""
        with tempfile.TemporaryDirectory() as folder:
            judge = self._judge(folder)
            for ids in middle(self._rows, prompts):
                self._asked = torch.tensor(ids)
                judge.generate_reward_max_seq_len = len(ids) + self._work.new_tokens
                assert judge.generate_reward("", "") == 0.0
        return self._work.drawn(prompts)

    def sample(self, prompts: int) -> float:
        """`sample` with all candidates of a prompt, as its generator calls it; tokens drawn."""
        wanted = self._work.sampling
        for ids in middle(self._rows, prompts):
            rows = torch.tensor([ids] * wanted.n, device=self._device)
            self._package.sample(
                self._net,
                prompts=rows,
                seq_len=len(ids) + self._work.new_tokens,
                temperature=wanted.temperature,
                filter_fn=self._package.top_p,
                filter_kwargs={"thres": wanted.top_p},
            )
        return self._work.drawn(prompts)

    def _judge(self, folder: str) -> Any:
        """Its generator with K evaluations; temperature and top-p are its defaults, ours too."""
        config = self._package.RewardConfig(
            prompt_template="{{ prompt }}{{ response }}", parse_reward=lambda text: 0.0
        )
        return self._package.DPODatasetGenerator(
            self._net,
            prompt_dataset=torch.utils.data.TensorDataset(torch.zeros(1)),
            num_preference_pairs=1,
            accelerator=self._accelerator(cpu=self._device == "cpu"),
            # The prompts are made of tokens already: the same ones that everybody is given.
            tokenizer_encode=lambda text: self._asked,
            tokenizer_decode=lambda ids: "",
            num_evals_to_average=self._work.samples,
            reward_config=config,
            data_folder=folder,
        )
