"""RoBERTa (Liu et al., 2019): a BERT with the tokenizer of GPT-2, and with other positions and heads."""
