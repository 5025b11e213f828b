"""Adapters of PEFT, applied to the weights of their base model while these are loaded."""
