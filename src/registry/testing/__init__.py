"""The conformance kit: tests that a plugin keeps the contract of ``registry.v1`` and that its models work.

In ``conftest.py``, which may be in another directory than the tests::

    pytest_plugins = ["registry.testing.plugin"]

In a test module, one class for each architecture of the plugin::

    from registry.testing import Conformance

    class TestMyArchitecture(Conformance):
        plugin = "my-plugin"
        config = {"vocab_size": 99, "hidden_size": 24, "num_layers": 2}
        unsupported = {"left-padding": "positions are absolute, counted from the first column"}

        def make_tokenizer(self, directory):
            return MyTokenizer({"[PAD]": 0, "[UNK]": 1, "hello": 2, "world": 3})

Every check is a method ``test_...`` whose docstring states the requirement.  ``Suite`` lists all that a subclass may
declare; ``Conformance`` is all suites in one, and each can be subclassed alone.  Without a subclass nothing runs.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from registry.testing.checkpoints import CheckpointSuite as CheckpointSuite
    from registry.testing.configs import ConfigSuite as ConfigSuite
    from registry.testing.conformance import Conformance as Conformance
    from registry.testing.declarations import PluginSuite as PluginSuite
    from registry.testing.models import ModelSuite as ModelSuite
    from registry.testing.parallel import ParallelSuite as ParallelSuite
    from registry.testing.seq2seq import Seq2SeqSuite as Seq2SeqSuite
    from registry.testing.suite import CAPABILITIES as CAPABILITIES
    from registry.testing.suite import Suite as Suite
    from registry.testing.tokenizers import TokenizerSuite as TokenizerSuite

_MODULES = {
    "CAPABILITIES": "suite",
    "CheckpointSuite": "checkpoints",
    "ConfigSuite": "configs",
    "Conformance": "conformance",
    "ModelSuite": "models",
    "ParallelSuite": "parallel",
    "PluginSuite": "declarations",
    "Seq2SeqSuite": "seq2seq",
    "Suite": "suite",
    "TokenizerSuite": "tokenizers",
}

__all__ = [*_MODULES]

if not TYPE_CHECKING:  # pytest imports this package with its plugin, before it can rewrite the suites' assertions

    def __getattr__(name: str) -> object:
        """Import a suite when it is first used."""
        from importlib import import_module

        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
