"""The six hooks of the registry.

A plugin is a module (or any object) with functions of these names, marked with ``@registry.hookimpl``, and announced
under the entry-point group ``registry.v1``::

    [project.entry-points."registry.v1"]
    my_architecture = "my_package.plugin"

The digit is the major version of this page: hooks and fields are only ever added under it.
"""

from collections.abc import Iterable

import pluggy

from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec

PROJECT = "registry"
ENTRY_POINT_GROUP = "registry.v1"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class RegistrySpecs:
    """The hooks that a plugin may implement, in the order in which they are called.

    Every hook takes no argument and yields frozen records of one type.  Records name classes as ``"module:Class"``, so
    that calling a hook imports nothing heavy.  The hooks of a plugin are called once, when a record of it is first
    needed, and must yield the same records at every call; a plugin omits the hooks for which it has no records.
    """

    @hookspec
    def registry_cards(self) -> Iterable[Card]:
        """Declare models by name, with the URLs of their files.

        Example::

            @hookimpl
            def registry_cards():
                files = (
                    FileSpec(role="config", filename="config.json"),
                    FileSpec(role="weights", filename="model.safetensors"),
                    FileSpec(role="vocab", filename="vocab.txt", urls=("https://example.org/vocab.txt",)),
                )
                yield Card.on_hub(
                    "me/my-tiny", files, revision="v1.0", name="my-tiny", architecture="my-tiny", task="masked-lm"
                )
        """
        yield from ()

    @hookspec
    def registry_configs(self) -> Iterable[ConfigSpec]:
        """Declare the configuration class of an architecture, and the ``model_type`` that it claims.

        Example::

            @hookimpl
            def registry_configs():
                yield ConfigSpec(architecture="bert", cls="plugins.bert.config:BertConfig", model_types=("bert",))
        """
        yield from ()

    @hookspec
    def registry_models(self) -> Iterable[ModelSpec]:
        """Declare model classes, one for each task.

        Example::

            @hookimpl
            def registry_models():
                yield ModelSpec(architecture="bert", task="masked-lm", cls="plugins.bert.modeling:BertForMaskedLM")
        """
        yield from ()

    @hookspec
    def registry_tokenizers(self) -> Iterable[TokenizerSpec]:
        """Declare the tokenizer of an architecture, and the files that it reads.

        Example::

            @hookimpl
            def registry_tokenizers():
                yield TokenizerSpec(
                    architecture="bert", cls="plugins.bert.tokenization:BertTokenizer", files={"vocab": "vocab.txt"}
                )
        """
        yield from ()

    @hookspec
    def registry_weight_loaders(self) -> Iterable[WeightLoaderSpec]:
        """Declare a format of weight files: how it is recognized, and how it is read.

        Example::

            @hookimpl
            def registry_weight_loaders():
                yield WeightLoaderSpec(
                    format="my-format", detect="my_package.weights:is_mine", loader="my_package.weights:load"
                )
        """
        yield from ()

    @hookspec
    def registry_layers(self) -> Iterable[LayerSpec]:
        """Declare layers for others to build with, available as ``registry.layer(architecture, name)``.

        Example::

            @hookimpl
            def registry_layers():
                yield LayerSpec(
                    architecture="bert",
                    name="pooler",
                    cls="plugins.bert.modeling:BertPooler",
                    summary="Passes the first token through a linear layer and tanh.",
                )
        """
        yield from ()


RECORD_TYPES = {
    "registry_cards": Card,
    "registry_configs": ConfigSpec,
    "registry_models": ModelSpec,
    "registry_tokenizers": TokenizerSpec,
    "registry_weight_loaders": WeightLoaderSpec,
    "registry_layers": LayerSpec,
}
"""The record that each hook yields."""
