"""GPT-2 (Radford et al., 2019): a causal language model over bytes, which writes on."""
