"""A stand-in for vLLM where there is none: the command `vllm serve`, and no more."""
