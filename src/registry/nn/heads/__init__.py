"""Backbones and heads of causal models."""

from registry.nn.heads.causal import CausalBackbone as CausalBackbone
from registry.nn.heads.causal import CausalLM as CausalLM
from registry.nn.heads.classification import SequenceClassifier as SequenceClassifier
from registry.nn.heads.classification import last_tokens as last_tokens
from registry.nn.heads.typed import ChoiceHead as ChoiceHead
from registry.nn.heads.typed import DoubleHeadsModel as DoubleHeadsModel
from registry.nn.heads.typed import LMHeadModel as LMHeadModel
from registry.nn.heads.typed import TypedBackbone as TypedBackbone
