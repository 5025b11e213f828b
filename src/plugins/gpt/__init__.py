"""GPT (Radford et al., 2018): the first causal language model that was pretrained to be fine-tuned."""
