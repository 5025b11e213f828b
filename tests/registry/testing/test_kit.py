"""The conformance kit, applied to a correct plugin and to plugins that are broken in one way each."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from registry.testing import (
    CAPABILITIES,
    CheckpointSuite,
    ConfigSuite,
    Conformance,
    ModelSuite,
    ParallelSuite,
    PluginSuite,
    Seq2SeqSuite,
    Suite,
    TokenizerSuite,
)

Run = Callable[..., Any]

PLUGIN = "src/my_tiny/plugin.py"
CARDS = "src/my_tiny/cards.py"
CONFIG = "src/my_tiny/config.py"
TOKENIZATION = "src/my_tiny/tokenization.py"
WEIGHTS = "src/my_tiny/weights.py"
MODELING = "src/my_tiny/modeling.py"
TESTS = "tests/test_conformance.py"

ENTRY_POINTS = "[registry.v1]\nmy-tiny = my_tiny.plugin\n"


class Mutation(NamedTuple):
    """A plugin that is broken in one way, and the checks that must fail."""

    failing: str
    """Names of checks, separated by spaces."""
    edits: tuple[tuple[str, str, str], ...]
    """File, text to replace, replacement; an empty text to replace means the end of the file."""


def mutation(failing: str, *edits: tuple[str, str, str]) -> Mutation:
    return Mutation(failing, edits)


def at_end(file: str, code: str) -> tuple[str, str, str]:
    return file, "", code


def before(file: str, anchor: str, code: str) -> tuple[str, str, str]:
    return file, anchor, code + anchor


def after(file: str, anchor: str, code: str) -> tuple[str, str, str]:
    return file, anchor, anchor + code


def in_suite(code: str) -> tuple[str, str, str]:
    """Add a line to the body of the author's suite."""
    return before(TESTS, "    def make_tokenizer", f"    {code}\n\n")


def in_config(code: str) -> tuple[str, str, str]:
    """Add a method to the configuration."""
    return after(CONFIG, "    vocab_size: int = size(64)\n", f"\n{code}\n\n")


def in_tokenizer(code: str) -> tuple[str, str, str]:
    """Add a method, or attributes, to the tokenizer."""
    return before(TOKENIZATION, TOKENIZER_BODY, f"{code}\n\n")


def in_ids(code: str) -> tuple[str, str, str]:
    """Add a statement to the tokenizer's function from text to ids."""
    return after(TOKENIZATION, TOKENIZER_BODY, f"{code}\n")


def in_base_model(code: str) -> tuple[str, str, str]:
    """Add a method to the base class of both models."""
    return after(MODELING, "    config_class = MyTinyConfig\n    layout = LAYOUT\n", f"\n{code}\n")


def in_forward(code: str) -> tuple[str, str, str]:
    """Add a statement where the model has embedded its input, ``x``."""
    return before(MODELING, BLOCKS, f"{code}\n")


def around_forward(code: str) -> tuple[str, str, str]:
    """Define how the model without a head reads; ``read`` is what it returns otherwise, given ``given``."""
    method = (
        "    def forward(self, input_ids=None, *, attention_mask=None, use_cache=None, **options):\n"
        "        given = attention_mask\n"
        f"{code}\n        return read\n\n"
    )
    return before(MODELING, "    def embed(", method)


READ = "        read = super().forward(input_ids, attention_mask=given, use_cache=use_cache, **options)\n"


def in_head(code: str) -> tuple[str, str, str]:
    """Add a method to the model with a head."""
    return after(MODELING, "        self.lm_head.weight = self.model.tokens.weight\n", f"\n{code}\n")


def in_constructor(code: str) -> tuple[str, str, str]:
    """Add a statement to the end of the model's constructor."""
    return after(MODELING, "        self.init_weights()\n", f"{code}\n")


TOKENIZER_BODY = (
    "    def span_ids(self, span: Span) -> list[int]:\n"
    '        """The ids of a span of text."""\n        text = span.text.replace(" ", SPACE)\n'
)
BLOCKS = "        for number, block in enumerate(self.blocks):\n"
PREDICT = "    def predict(self, read, labels, mask):\n        found = super().predict(read, labels, mask)\n"


def lenient(option: str) -> str:
    """A ``from_pretrained`` that always passes an option on."""
    return (
        "    @classmethod\n    def from_pretrained(cls, name, *inputs, **options):\n"
        f"        return super().from_pretrained(name, *inputs, {option}, **options)"
    )


BAD_IMPORT = before(PLUGIN, "from .cards", "import nowhere\n")

LOADS = "test_the_plugin_is_installed_and_loads"
KEEPS_THE_CONTRACT = "test_its_hooks_are_known_and_marked_and_yield_their_records"
REFERENCES = "test_every_reference_leads_to_the_right_kind"
CARD_FILES = "test_its_cards_name_tasks_and_files_that_it_can_read"
SHAPES = "test_outputs_have_the_fields_and_shapes_of_the_task"
RECORDED = "test_names_of_weights_are_those_that_were_published"

MUTATIONS: Mapping[str, Mutation] = {
    # --- the plugin
    "it cannot be imported": mutation(LOADS, BAD_IMPORT),
    "a hook raises": mutation(LOADS, (PLUGIN, "return CARDS", "return [1 / 0]")),
    "a hook is misspelled": mutation(KEEPS_THE_CONTRACT, (PLUGIN, "def registry_cards", "def registry_card")),
    "a hook is not marked": mutation(
        KEEPS_THE_CONTRACT, (PLUGIN, "@hookimpl\ndef registry_cards", "def registry_cards")
    ),
    "a hook wants an argument": mutation(
        KEEPS_THE_CONTRACT, (PLUGIN, "def registry_cards()", "def registry_cards(config)")
    ),
    "a hook yields records of another": mutation(
        KEEPS_THE_CONTRACT, (PLUGIN, "def registry_models", "def registry_layers")
    ),
    "its records differ each time": mutation(
        "test_its_hooks_return_the_same_records_each_time",
        (PLUGIN, "return CARDS", "CALLED.append(1)\n    return CARDS[: len(CALLED) % 2]"),
        before(PLUGIN, "from .cards", "CALLED = []\n"),
    ),
    "its default task has no class": mutation(
        "test_it_declares_the_architecture_completely",
        (PLUGIN, 'default_task="causal-lm"', 'default_task="masked-lm"'),
    ),
    "a reference leads nowhere": mutation(REFERENCES, at_end(PLUGIN, "LAYER = 'my_tiny.nowhere:Block'")),
    "a reference leads to something else": mutation(REFERENCES, at_end(PLUGIN, "LAYER = 'my_tiny.weights:LAYOUT'")),
    "a name is taken by another plugin": mutation(
        "test_its_names_resolve_to_its_own_cards",
        after(CARDS, '    license="CC0-1.0",', '\n        aliases=("bert-base-uncased",),'),
    ),
    "a card is of a task without a class": mutation(CARD_FILES, (CARDS, 'task="causal-lm"', 'task="masked-lm"')),
    "a card lists no weights": mutation(CARD_FILES, (CARDS, '    "weights": "model.safetensors",\n', "")),
    "a card is of an architecture that nobody declares": mutation(
        CARD_FILES, (CARDS, 'architecture="my-tiny"', 'architecture="my-tinny"')
    ),
    "a card names a file that is not in the package": mutation(
        "test_what_its_cards_name_in_its_package_is_there", (CARDS, "my_tiny/tiny", "my_tiny/tinny")
    ),
    # --- the configuration
    "the defaults contradict each other": mutation(
        "test_the_defaults_are_a_configuration",
        (CONFIG, "num_attention_heads: int = size(4)", "num_attention_heads: int = size(5)"),
    ),
    "equal configurations have other hashes": mutation(
        "test_a_configuration_survives_its_file", in_config("    def __hash__(self) -> int:\n        return id(self)")
    ),
    "a value is changed when it is read": mutation(
        "test_every_key_of_a_file_becomes_its_field",
        in_config(
            "    def __attrs_post_init__(self) -> None:\n        super().__attrs_post_init__()\n"
            "        object.__setattr__(self, 'dropout', round(self.dropout, 1))"
        ),
        (TESTS, '"vocab_size": 40,', '"vocab_size": 40, "dropout": 0.25,'),
    ),
    "unknown keys are lost": mutation(
        "test_unknown_keys_are_kept_and_written_back",
        in_config(
            "    def to_dict(self):\n        keys = super().to_dict()\n"
            "        return {key: keys[key] for key in keys if key not in self.extra}"
        ),
    ),
    "what is set is not checked": mutation(
        "test_a_field_may_be_set_and_is_checked", at_end(CONFIG, "MyTinyConfig.__setattr__ = object.__setattr__")
    ),
    "a field is not checked": mutation(
        "test_impossible_values_are_refused", (CONFIG, "dropout: float = rate(0.1)", "dropout: float = 0.1")
    ),
    "a refusal does not name the field": mutation(
        "test_impossible_values_are_refused",
        (CONFIG, "dropout: float = rate(0.1)", "dropout: float = field(default=0.1, validator=_wrong)"),
        (CONFIG, "from attrs import Attribute,", "from attrs import Attribute, field,"),
        before(
            CONFIG,
            "@frozen(",
            "def _wrong(_config, _attribute, value):\n    if type(value) is not float or not 0 <= value <= 1:\n"
            "        raise ConfigError('no')\n\n\n",
        ),
    ),
    "an unknown override is ignored": mutation(
        "test_an_unknown_override_is_refused",
        in_config(
            "    def replace(self, **changes):\n"
            "        return super().replace(**{key: changes[key] for key in changes if key in self.keys()})"
        ),
    ),
    "it claims the model_type of another": mutation(
        "test_its_files_are_recognized", (PLUGIN, 'model_types=("my-tiny",)', 'model_types=("my-tiny", "gpt2")')
    ),
    # --- the tokenizer
    "tokens are joined the wrong way round": mutation(
        "test_ids_survive_decoding",
        in_suite('unsupported: ClassVar = {"exact-text": "it is broken on purpose"}'),
        (TOKENIZATION, '"".join(tokens)', '"".join(reversed(tokens))'),
    ),
    "case is lost": mutation(
        "test_decoding_gives_back_the_very_text",
        (TOKENIZATION, 'text.replace(" ", SPACE)', 'text.lower().replace(" ", SPACE)'),
        in_suite('texts = ("Hello world",)'),
        in_suite('unsupported: ClassVar = {"offsets": "lower case may be longer"}'),
    ),
    "tokenize gives other tokens": mutation(
        "test_tokens_and_ids_are_two_names_of_one_thing",
        in_tokenizer(
            "    def tokenize(self, text: str, **call: Any) -> list[str]:\n"
            "        return super().tokenize(text, **call)[::-1]"
        ),
    ),
    "a pickle has another vocabulary": mutation(
        "test_it_survives_saving_and_pickling",
        in_tokenizer(
            "    def __setstate__(self, state: Any) -> None:\n        vocab = dict(zip(state['vocab'], "
            "reversed(state['vocab'].values())))\n        super().__setstate__({**state, 'vocab': vocab})"
        ),
    ),
    "a file has another name than declared": mutation(
        "test_its_files_are_those_that_the_plugin_declares",
        (PLUGIN, '{"vocab": "vocab.txt"}', '{"vocab": "words.txt"}'),
    ),
    "special tokens are split": mutation(
        "test_special_tokens_are_recognised_wherever_they_stand",
        in_tokenizer("    def _parts(self, text: str, split: Any, **_: Any) -> Any:\n        return None"),
    ),
    "the id of a special token is another's": mutation(
        "test_special_tokens_have_ids", in_tokenizer("    eos_token_id = 0")
    ),
    "an ordinary token is added": mutation(
        "test_special_tokens_are_added_only_when_wanted",
        in_tokenizer("    letter = 'a'\n    template = Template(('letter',), (), ())"),
        (TOKENIZATION, "import Offsets, Span", "import Offsets, Span, Template"),
    ),
    "offsets are off by one": mutation(
        "test_offsets_point_into_the_text", (TOKENIZATION, "(index, index + 1)", "(index + 1, index + 2)")
    ),
    "padding is not masked": mutation(
        "test_a_batch_has_what_each_text_has_alone",
        in_tokenizer(
            "    def __call__(self, *texts: Any, **call: Any) -> Any:\n"
            "        batch = super().__call__(*texts, **call)\n"
            "        if call.get('padding'):\n"
            "            batch['attention_mask'] = [[1] * len(row) for row in batch['input_ids']]\n"
            "        return batch"
        ),
    ),
    "tensors have other ids": mutation(
        "test_tensors_hold_the_ids_of_lists",
        in_tokenizer(
            "    def __call__(self, text: Any, *others: Any, **call: Any) -> Any:\n"
            "        if call.get('return_tensors'):\n"
            "            text = [one.replace('\\ufeff', '') for one in text]\n"
            "        return super().__call__(text, *others, **call)"
        ),
    ),
    "an empty text is unknown": mutation(
        "test_an_empty_text_has_no_tokens_of_its_own", in_ids("        text = text or '?'")
    ),
    "an odd text cannot be decoded": mutation(
        "test_odd_texts_are_taken",
        before(
            TOKENIZATION,
            '        return "".join(tokens).replace(SPACE, " ")\n',
            "        if tokens == ['a', '[UNK]', 'b']:\n            raise ValueError\n",
        ),
    ),
    "a script is refused": mutation(
        "test_any_text_is_taken",
        in_ids("        if any('\xc0' <= letter <= '\xff' for letter in text):\n            raise KeyError(text)"),
    ),
    "a long word takes the square of its length": mutation(
        "test_very_long_words_and_texts_take_linear_time",
        in_ids("        all(0 <= i for _ in text for i in range(0, len(text), 1000))"),
    ),
    "an id lies beyond the embedding": mutation(
        f"test_it_fits_the_tiny_model test_a_saved_model_loads_with_equal_outputs {RECORDED}",
        (TESTS, '"vocab_size": 40,', '"vocab_size": 20,'),
    ),
    # --- the model
    "there is a loss without labels": mutation(
        SHAPES,
        in_head(
            f"{PREDICT}        return type(found)(**{{**dict(found), 'loss': found.logits.mean()}}) "
            "if labels is None else found"
        ),
    ),
    "a loss for each token is returned": mutation(
        SHAPES,
        in_head(
            f"{PREDICT}        return found if labels is None else "
            "type(found)(**{**dict(found), 'loss': found.loss[None]})"
        ),
    ),
    "it adds noise in evaluation": mutation(
        "test_evaluation_is_deterministic", in_forward("        x = x + 1e-7 * x.new_empty(x.shape).normal_()")
    ),
    "weights come from another generator": mutation(
        "test_building_it_twice_gives_the_same_weights",
        (MODELING, "std=self.config.initializer_range)", "std=self.config.initializer_range, generator=GENERATOR)"),
        before(MODELING, "class MyTinyAttention", "GENERATOR = __import__('torch').Generator()\n\n\n"),
    ),
    "a norm is not initialized": mutation(
        "test_every_parameter_is_initialized",
        (MODELING, "            nn.init.ones_(module.weight)", "            pass"),
    ),
    "no gradient reaches the positions": mutation(
        "test_gradients_reach_every_parameter",
        (MODELING, 'position_ids, "position_ids")\n', 'position_ids, "position_ids").detach()\n'),
    ),
    "padding on the right changes results": mutation(
        "test_padding_on_the_right_changes_nothing",
        around_forward(
            f"{READ}        if given is not None and not given[..., -1].all():\n"
            "            read = type(read)(**{**dict(read), 'last_hidden_state': 1.1 * read.last_hidden_state})"
        ),
    ),
    "the mask is not used": mutation(
        "test_padding_on_the_left_changes_nothing",
        around_forward(f"        given = None\n{READ}"),
    ),
    "padding alone gives NaN": mutation(
        "test_a_sequence_of_padding_alone_has_finite_outputs",
        around_forward(
            f"{READ}        if given is not None:\n            tokens = given.sum(-1)[:, None, None]\n"
            "            read['last_hidden_state'] = read.last_hidden_state * (tokens / tokens)"
        ),
    ),
    "the wrong token is scored after a cache": mutation(
        "test_a_cache_changes_no_score",
        in_head(
            "    def score(self, input_ids, cache, *, top=None, **options):\n"
            "        read = self.model(input_ids, past_key_values=cache, **options)\n"
            "        last = -2 if cache.length > input_ids.shape[1] > 1 else -1\n"
            "        return self.lm_head(read.last_hidden_state[:, last])"
        ),
    ),
    "the context length is too small": mutation(
        "test_greedy_generation_follows_the_logits",
        in_head("    @property\n    def context_size(self):\n        return 6"),
    ),
    "the constructor forgets to initialize": mutation(
        "test_a_constructed_model_is_initialized", (MODELING, "        self.init_weights()\n", "")
    ),
    "a tie is not in the layout": mutation(
        "test_tied_weights_are_named_by_the_layout",
        (WEIGHTS, '    ties=(("model.tokens.weight", "lm_head.weight"),),  # names of one shared tensor\n', ""),
    ),
    "a row makes what no model has": mutation(
        "test_rows_that_gather_or_part_have_their_inverses",
        (WEIGHTS, "import Layout", "import Layout, NameTable, gathered"),
        (
            WEIGHTS,
            "    prefix=",
            '    names=NameTable(gathered("{p}.experts.{i}.weight", "{p}.experts")),\n    prefix=',
        ),
    ),
    "training adds a buffer": mutation(
        "test_names_of_weights_do_not_change_by_use",
        in_forward("        if self.training:\n            self.register_buffer('seen', x.new_zeros(1))"),
    ),
    "the constructor computes weights": mutation(
        "test_its_constructor_computes_nothing",
        in_constructor("        self.norm.weight = nn.Parameter(__import__('torch').rand(config.hidden_size))"),
    ),
    "a published weight is renamed": mutation(
        RECORDED, (MODELING, "self.norm = ", "self.last_norm = "), (MODELING, "self.norm(x)", "self.last_norm(x)")
    ),
    "a published weight has another shape": mutation(
        RECORDED, (TESTS, '"max_position_embeddings": 20', '"max_position_embeddings": 22')
    ),
    # --- files
    "one class saves other weights": mutation(
        "test_a_saved_model_loads_with_equal_outputs",
        before(
            MODELING,
            "class MyTinyForCausalLM",
            "def _save(self, directory, **options):\n    other = MyTinyModel(self.config)\n"
            "    return super(MyTinyModel, other).save_pretrained(directory, **options)\n\n\n"
            "MyTinyModel.save_pretrained = _save\n\n\n",
        ),
    ),
    "it computes in single precision only": mutation(
        "test_it_loads_in_half_precision", in_forward("        x = x + __import__('torch').zeros(x.shape[-1])")
    ),
    "the tokenizer does not load by name": mutation(
        "test_it_loads_by_name",
        in_tokenizer(
            "    @classmethod\n    def from_files(cls, paths: Any, **values: Any) -> Any:\n"
            "        assert paths\n        return super().from_files(paths, **values)"
        ),
    ),
    "a head that is missing in the file is refused": mutation(
        "test_every_head_loads_from_the_base_model",
        (WEIGHTS, '    parts=("lm_head.",),  # a checkpoint may have none of these\n', ""),
        (WEIGHTS, '    ties=(("model.tokens.weight", "lm_head.weight"),),  # names of one shared tensor\n', ""),
        (
            MODELING,
            "        self.lm_head.weight = self.model.tokens.weight\n",
            "        self.init_module(self.lm_head)\n",
        ),
    ),
    "missing weights are allowed": mutation(
        "test_a_missing_weight_is_refused", in_base_model(lenient("allow_missing=('*norm*',)"))
    ),
    "unknown weights are allowed": mutation(
        "test_an_unexpected_weight_is_refused", in_base_model(lenient("allow_unexpected=('no_such*',)"))
    ),
    "its own format passes the parser's errors on": mutation(
        "test_damaged_weights_are_refused",
        at_end(PLUGIN, "OWN_FORMAT = 'json.loads(paths[NAME].read_bytes())'"),
    ),
    "a damaged configuration becomes the default one": mutation(
        "test_a_damaged_configuration_is_refused",
        in_config(
            "    @classmethod\n    def from_pretrained(cls, name, **overrides):\n        try:\n"
            "            return super().from_pretrained(name, **overrides)\n        except ConfigError:\n"
            "            return cls()"
        ),
    ),
    "a damaged vocabulary becomes an empty one": mutation(
        "test_a_damaged_vocabulary_is_refused",
        in_tokenizer(
            "    @classmethod\n    def read_files(cls, paths: Any) -> Any:\n"
            "        if 'vocab.txt' not in paths:\n            return super().read_files(paths)\n"
            "        text = paths['vocab.txt'].read_text('utf-8', errors='ignore')\n"
            "        return {t: i for i, t in enumerate(text.split('\\n')[:-1] or SPECIAL)}, {}"
        ),
    ),
}
"""What is broken: how, and which checks must fail."""

LAYER_HOOK = """

@hookimpl
def registry_layers():
    from registry.records import LayerSpec

    yield LayerSpec(architecture="my-tiny", name="block", cls=LAYER, summary="A block.")
"""

OWN_FORMAT_HOOK = """

@hookimpl
def registry_weight_loaders():
    from registry.records import WeightLoaderSpec

    yield WeightLoaderSpec(format="tiny", detect="my_tiny.own:detect", loader="my_tiny.own:load")
"""

OWN_FORMAT = """
import json

from registry.errors import CorruptWeightsError
from registry.files.strict_json import read_json_object

NAME = "weights.json"


def detect(paths):
    return NAME in paths


def load(paths):
    import torch

    return {{name: torch.tensor(numbers) for name, numbers in {read}.items()}}
"""

OWN_FORMAT_WRITER = """
    def write_checkpoint(self, format, model, directory) -> None:
        import json

        numbers = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
        (directory / "weights.json").write_text(json.dumps(numbers))

    def make_tokenizer"""


def changed(files: Mapping[str, str], mutation: Mutation) -> dict[str, str]:
    """The files that a mutation changes."""
    texts: dict[str, str] = {}
    for path, old, new in mutation.edits:
        text = texts.get(path, files.get(path, ENTRY_POINTS if path == "entry_points.txt" else ""))
        assert old in text, f"{path} has no {old!r}"
        texts[path] = text.replace(old, new, 1) if old else f"{text}\n{new}\n".lstrip()
    plugin = texts.get(PLUGIN, "")
    if "LAYER =" in plugin:
        texts[PLUGIN] += LAYER_HOOK
    if "OWN_FORMAT =" in plugin:
        texts[PLUGIN] += OWN_FORMAT_HOOK
        texts["src/my_tiny/own.py"] = OWN_FORMAT.format(read=plugin.rpartition("OWN_FORMAT = '")[2].rpartition("'")[0])
        texts[TESTS] = files[TESTS].replace("\n    def make_tokenizer", OWN_FORMAT_WRITER)
    return texts


PLAN = """
from registry.sharding.plans import ParallelPlan
MyTinyPreTrainedModel.parallel_plan = ParallelPlan(
    blocks=("model.blocks.*",),
    tensor={
        "model.blocks.*.attention.project": "colwise:3",
        "model.blocks.*.attention.output": "rowwise",
    },
    divisible=("num_attention_heads",),
)
"""
"""A right plan, for the model that the scaffold writes."""
OF_PLANS = {name for name in vars(ParallelSuite) if name.startswith("test_")}
OF_ANSWERS = {name for name in vars(Seq2SeqSuite) if name.startswith("test_")}


def planned(*replaced: tuple[str, str]) -> tuple[str, str, str]:
    """Give the model a plan, with some of its text replaced."""
    code = PLAN
    for old, new in replaced:
        assert old in code
        code = code.replace(old, new)
    return at_end(MODELING, code)


ELSEWHERE: Mapping[str, Mutation] = {
    "its plan divides outputs that nobody adds up": mutation(
        "test_two_processes_compute_what_one_does", planned(('"model.blocks.*.attention.output": "rowwise",', ""))
    ),
    "its plan names no module": mutation(
        "test_its_plan_fits test_every_rule_of_its_plan_is_used test_two_processes_compute_what_one_does",
        planned(("attention.output", "attention.outputs")),
    ),
    "asking it imports numpy": mutation(
        "test_its_hooks_import_nothing_heavy test_its_hooks_stay_within_their_budget",
        (PLUGIN, "from .cards", "import numpy\nfrom .cards"),
    ),
    "asking it imports many modules": mutation(
        "test_its_hooks_stay_within_their_budget",
        (PLUGIN, "from .cards", "import asyncio, http.server, unittest.mock, xml.dom.minidom\nfrom .cards"),
    ),
    "asking it takes long": mutation(
        "test_its_hooks_stay_within_their_budget",
        before(PLUGIN, "from .cards", "import time\nend = time.process_time() + 0.4\n"),
        before(PLUGIN, "from .cards", "while time.process_time() < end:\n    pass\n"),
        in_suite("most_seconds: ClassVar = 0.3"),
    ),
    "its tokenizer imports torch": mutation(
        "test_configurations_and_tokenizers_need_no_torch",
        (TOKENIZATION, "from collections", "import torch\nfrom collections"),
    ),
    "its model changes the environment": mutation(
        "test_importing_it_changes_nothing_for_others",
        at_end(MODELING, "import os\nos.environ['TOKENIZERS_PARALLELISM'] = 'false'"),
    ),
    "it is imported by another part of its distribution": mutation(
        "test_it_is_not_imported_when_it_is_disabled",
        ("METADATA", "", "Metadata-Version: 2.1\nName: my-tiny-and-more\nVersion: 0.1.0"),
        ("entry_points.txt", "", "my-tiny-extras = my_tiny.extras"),
        ("src/my_tiny/extras.py", "", "from . import plugin"),
    ),
    "it is imported before anybody asks": mutation(
        "test_reading_metadata_does_not_import_it", ("sitecustomize.py", "", "import my_tiny.plugin")
    ),
    "its models cannot be pickled": mutation(
        "test_it_loads_and_unpickles_in_another_process",
        (
            MODELING,
            "        self.init_weights()\n",
            "        self.init_weights()\n        self.identity = lambda x: x\n",
        ),
    ),
}
"""The same, for what only a separate process can show."""


# --- Broken plugins ---------------------------------------------------------------------------------------------------


OF_LOADING = {LOADS, KEEPS_THE_CONTRACT}
"""The checks that report why a plugin cannot be loaded; the others then end in an error of setup."""


def concerned(failing: set[str]) -> str:
    """An expression for pytest -k: the suites of the checks that must fail; all would take five times as long."""
    checks = [
        name
        for suite in SUITES
        if failing & vars(suite).keys()
        for name in vars(suite)
        if name.startswith("test_") and (name in failing or name not in LONG)
    ]
    return f"TestMyTiny and ({' or '.join(checks)})"


SUITES = (PluginSuite, ConfigSuite, TokenizerSuite, ModelSuite, CheckpointSuite)
LONG = {
    "test_any_text_is_taken",
    "test_very_long_words_and_texts_take_linear_time",
    "test_a_missing_weight_is_refused",
    "test_damaged_weights_are_refused",
}
"""Checks that take as long as all others of their suites; they run where they must fail, and on correct plugins."""


@pytest.mark.slow
@pytest.mark.parametrize("broken", MUTATIONS)
def test_a_plugin_that_is_broken_in_one_way_fails_the_check_for_it(run: Run, files: Any, broken: str) -> None:
    failing = set(MUTATIONS[broken].failing.split())
    outcome = run(changed(files, MUTATIONS[broken]), "-m", "not another_process", "-k", concerned(failing))
    assert outcome.failed == failing
    if failing & OF_LOADING:
        assert outcome.passed == OF_LOADING - failing
        assert len(outcome.not_begun) > 5
    else:
        assert outcome.not_begun == set()
        assert len(outcome.passed) > 5


@pytest.mark.slow
def test_a_plugin_that_cannot_be_loaded_passes_no_check(run: Run, files: Any) -> None:
    outcome = run(changed(files, MUTATIONS["it cannot be imported"]), "-m", "not another_process", "-k", "TestMyTiny")
    assert outcome.failed == {LOADS}
    assert outcome.passed == {KEEPS_THE_CONTRACT}
    assert len(outcome.not_begun) > 40


@pytest.mark.slow
@pytest.mark.parametrize("broken", ELSEWHERE)
def test_what_only_a_separate_process_can_show_is_found(run: Run, files: Any, broken: str) -> None:
    failing = set(ELSEWHERE[broken].failing.split())
    chosen = ["-m", "another_process"]
    if failing <= OF_PLANS:
        chosen = ["-k", " or ".join(OF_PLANS)]
    elif failing <= vars(PluginSuite).keys():
        chosen += ["-k", "not unpickles"]  # which imports torch in a process of its own
    outcome = run(changed(files, ELSEWHERE[broken]), *chosen)
    assert outcome.failed == failing
    assert not outcome.not_begun


@pytest.mark.parametrize("call", ["os._exit(7)", "raise KeyboardInterrupt"])
def test_a_plugin_that_ends_the_process_is_reported_from_outside(run: Run, files: Any, call: str) -> None:
    elsewhere = f"import os, sys\nif 'pytest' not in sys.modules: {call}\nfrom .cards"
    changes = changed(files, mutation("", (PLUGIN, "from .cards", elsewhere)))
    outcome = run(changes, "-m", "another_process", "-k", "heavy")
    assert outcome.not_begun == {"test_its_hooks_import_nothing_heavy"}


# --- A correct plugin -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_scaffold_passes_every_check(run: Run) -> None:
    outcome = run({})
    assert outcome.failed == outcome.not_begun == set()
    assert outcome.skipped == OF_ANSWERS, "it continues texts, and answers none"
    every = {name for name in dir(Conformance) if name.startswith("test_")}
    assert outcome.passed == (every - OF_PLANS - OF_ANSWERS) | {"test_the_trained_model_completes_its_sentence"}


@pytest.mark.slow
def test_a_right_plan_passes(run: Run, files: Any) -> None:
    outcome = run(changed(files, mutation("", planned())), "-k", " or ".join(OF_PLANS))
    assert (outcome.passed, outcome.skipped, outcome.failed | outcome.not_begun) == (OF_PLANS, set(), set())


def test_every_check_has_a_plugin_that_fails_it() -> None:
    every = {name for name in dir(Conformance) if name.startswith("test_")}
    shown = {name for broken in (*MUTATIONS.values(), *ELSEWHERE.values()) for name in broken.failing.split()}
    assert shown == every - OF_ANSWERS, "test_seq2seq.py has those"


def test_every_check_says_what_is_promised() -> None:
    for name in dir(Conformance):
        if name.startswith("test_"):
            assert str(getattr(Conformance, name).__doc__).rstrip().endswith("."), name


def test_a_format_of_its_own_that_refuses_damage_passes(run: Run, files: Any) -> None:
    read = "read_json_object(paths[NAME], limit=10**7, error=CorruptWeightsError)"
    changes = changed(files, mutation("", at_end(PLUGIN, f"OWN_FORMAT = '{read}'")))
    outcome = run(changes, "-k", "damaged_weights or right_kind")
    assert outcome.failed == outcome.not_begun == set()
    assert outcome.passed == {"test_damaged_weights_are_refused", "test_every_reference_leads_to_the_right_kind"}


def test_a_format_without_a_writer_is_missed(run: Run, files: Any) -> None:
    changes = changed(files, mutation("", at_end(PLUGIN, "OWN_FORMAT = 'json.loads(paths[NAME].read_bytes())'")))
    outcome = run({**changes, TESTS: files[TESTS]}, "-k", "damaged_weights")
    assert outcome.failed == {"test_damaged_weights_are_refused"}


# --- What an author declares ------------------------------------------------------------------------------------------


def test_unsupported_capabilities_are_skipped_with_the_reason(run: Run, files: Any, capsys: Any) -> None:
    reasons = {name: f"no {name} on purpose" for name in CAPABILITIES}
    changes = changed(files, mutation("", in_suite(f"unsupported: ClassVar = {reasons}")))
    outcome = run(changes, "-m", "not another_process", "-rs")
    assert outcome.failed == outcome.not_begun == set()
    assert "test_padding_on_the_right_changes_nothing" in outcome.skipped
    printed = capsys.readouterr().out
    for name in ("cards", "tokenizer", "padding", "cache"):  # the others need one of these as well
        assert f"my-tiny does not support {name!r}: {reasons[name]}" in printed


@pytest.mark.parametrize(
    ("unsupported", "message"),
    [
        ({"tokeniser": "it has none"}, "'tokeniser'. Did you mean 'tokenizer'"),
        ({"tokenizer": ""}, "a reason for 'tokenizer'"),
        ({"tokenizer": True}, "a reason for 'tokenizer'"),
    ],
)
def test_a_capability_that_does_not_exist_or_has_no_reason_is_refused(unsupported: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        type("TestMine", (Suite,), {"plugin": "mine", "unsupported": unsupported})


def test_the_architecture_is_the_plugins_name_unless_given() -> None:
    assert type("TestMine", (Suite,), {"plugin": "mine"}).architecture == "mine"
    assert type("TestMine", (Suite,), {"plugin": "mine", "architecture": "other"}).architecture == "other"


def test_a_plugin_that_is_not_installed_is_missed(run: Run, files: Any) -> None:
    outcome = run(
        changed(files, mutation("", (TESTS, 'plugin = "my-tiny"', 'plugin = "my-tinny"'))), "-m", "not another_process"
    )
    assert {"test_the_plugin_is_installed_and_loads"} <= outcome.failed
    assert not outcome.passed - {"test_the_trained_model_completes_its_sentence"}


def test_other_tests_are_left_alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PLUGINS", "bert")
    pytester.makepyfile(
        conftest="pytest_plugins = ['registry.testing.plugin']",
        test_mine="import os\ndef test_mine(): assert os.environ['REGISTRY_PLUGINS'] == 'bert'",
    )
    pytester.inline_run("-p", "no:cacheprovider").assertoutcome(passed=1)
