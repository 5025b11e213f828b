"""All suites in one."""

from registry.testing.checkpoints import CheckpointSuite
from registry.testing.configs import ConfigSuite
from registry.testing.declarations import PluginSuite
from registry.testing.models import ModelSuite
from registry.testing.parallel import ParallelSuite
from registry.testing.seq2seq import Seq2SeqSuite
from registry.testing.tokenizers import TokenizerSuite


class Conformance(PluginSuite, ConfigSuite, TokenizerSuite, ModelSuite, Seq2SeqSuite, ParallelSuite, CheckpointSuite):
    """Every check of the kit, for one architecture of one plugin."""
