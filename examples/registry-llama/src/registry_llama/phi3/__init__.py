"""Phi 3 (Abdin et al., 2024): a Llama whose files keep projections in one tensor."""
