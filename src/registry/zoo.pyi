"""The classes of first-party plugins by name, for type checkers; scripts/zoo_stub.py writes this file."""

from typing import Any

from plugins.bert.config import BertConfig as BertConfig
from plugins.bert.finetuning import BertForMultipleChoice as BertForMultipleChoice
from plugins.bert.finetuning import BertForQuestionAnswering as BertForQuestionAnswering
from plugins.bert.finetuning import BertForSequenceClassification as BertForSequenceClassification
from plugins.bert.finetuning import BertForTokenClassification as BertForTokenClassification
from plugins.bert.modeling import BertForMaskedLM as BertForMaskedLM
from plugins.bert.modeling import BertForNextSentencePrediction as BertForNextSentencePrediction
from plugins.bert.modeling import BertForPreTraining as BertForPreTraining
from plugins.bert.modeling import BertModel as BertModel
from plugins.bert.tokenization import BertTokenizer as BertTokenizer
from plugins.gpt.config import OpenAIGPTConfig as OpenAIGPTConfig
from plugins.gpt.modeling import OpenAIGPTDoubleHeadsModel as OpenAIGPTDoubleHeadsModel
from plugins.gpt.modeling import OpenAIGPTForSequenceClassification as OpenAIGPTForSequenceClassification
from plugins.gpt.modeling import OpenAIGPTLMHeadModel as OpenAIGPTLMHeadModel
from plugins.gpt.modeling import OpenAIGPTModel as OpenAIGPTModel
from plugins.gpt.tokenization import OpenAIGPTTokenizer as OpenAIGPTTokenizer
from plugins.gpt2.config import GPT2Config as GPT2Config
from plugins.gpt2.finetuning import GPT2ForSequenceClassification as GPT2ForSequenceClassification
from plugins.gpt2.finetuning import GPT2ForTokenClassification as GPT2ForTokenClassification
from plugins.gpt2.modeling import GPT2DoubleHeadsModel as GPT2DoubleHeadsModel
from plugins.gpt2.modeling import GPT2LMHeadModel as GPT2LMHeadModel
from plugins.gpt2.modeling import GPT2Model as GPT2Model
from plugins.gpt2.tokenization import GPT2Tokenizer as GPT2Tokenizer
from plugins.transfo_xl.config import TransfoXLConfig as TransfoXLConfig
from plugins.transfo_xl.modeling import TransfoXLForSequenceClassification as TransfoXLForSequenceClassification
from plugins.transfo_xl.modeling import TransfoXLLMHeadModel as TransfoXLLMHeadModel
from plugins.transfo_xl.modeling import TransfoXLModel as TransfoXLModel
from plugins.transfo_xl.tokenization import TransfoXLTokenizer as TransfoXLTokenizer

def __getattr__(name: str) -> Any: ...  # classes of other installed plugins
