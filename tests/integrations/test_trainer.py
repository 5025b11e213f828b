"""transformers' Trainer and its collators: training, evaluation, checkpoints, and directories that load here."""

import copy
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

import registry
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    TransfoXLConfig,
    TransfoXLForSequenceClassification,
    TransfoXLLMHeadModel,
)

pytest.importorskip("accelerate", reason="the extra `integrations` is not installed")
from registry.integrations.trainer import Trainer  # needs accelerate

pytestmark = [
    pytest.mark.integrations,
    # of torch, for DataLoader on a machine without an accelerator
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set"),
]

VOCABULARIES = Path(__file__).parents[1] / "fixtures" / "vocabularies"
TEXTS = [line for line in (VOCABULARIES / "text/english.txt").read_text().splitlines() if line.strip()][:24]


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(VOCABULARIES / "bert" / "vocab.txt")


def bert(tokenizer: BertTokenizer, **changes: Any) -> BertConfig:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes, **changes)


def classes(tokenizer: Any, texts: list[str] = TEXTS) -> list[dict[str, Any]]:
    """Texts with the number of their class, whether they are long; of different lengths, so that there is padding."""
    rows = [tokenizer(text, truncation=True, max_length=24) for text in texts]
    return [{**row, "labels": int(len(text) > 60)} for row, text in zip(rows, texts, strict=True)]


def arguments(directory: Path, **changes: Any) -> transformers.TrainingArguments:
    settings: dict[str, Any] = {
        "max_steps": 4, "per_device_train_batch_size": 4, "per_device_eval_batch_size": 5, "learning_rate": 1e-2,
        "logging_steps": 1, "report_to": [], "disable_tqdm": True, "use_cpu": True, "save_strategy": "no",
    }  # fmt: skip
    return transformers.TrainingArguments(str(directory), **{**settings, **changes})


def trainer(
    model: Any, tokenizer: Any, directory: Path, *, rows: Any = None, further: Any = None, **changes: Any
) -> Any:
    rows = classes(tokenizer) if rows is None else rows
    keywords = {
        "data_collator": transformers.DataCollatorWithPadding(tokenizer),
        "processing_class": tokenizer,
        **(further or {}),
    }
    return Trainer(model, arguments(directory, **changes), train_dataset=rows, eval_dataset=rows, **keywords)


def losses(trained: Any) -> list[float]:
    return [entry["loss"] for entry in trained.state.log_history if "loss" in entry]


def accuracy(found: transformers.EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(np.mean(found.predictions.argmax(-1) == found.label_ids))}


# --- All that it does -------------------------------------------------------------------------------------------------


def test_it_trains_evaluates_predicts_and_saves(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(bert(tokenizer))
    once = trainer(model, tokenizer, tmp_path / "out", further={"compute_metrics": accuracy})
    once.train()
    assert len(losses(once)) == 4
    metrics = once.evaluate()
    found = once.predict(classes(tokenizer))
    with torch.no_grad():
        batch = tokenizer.pad(
            [{k: v for k, v in row.items() if k != "labels"} for row in classes(tokenizer)], return_tensors="pt"
        )
        labels = torch.tensor([row["labels"] for row in classes(tokenizer)])
        expected = model.eval()(**batch, labels=labels)
    assert_close(torch.tensor(found.predictions), expected.logits, atol=1e-5, rtol=1e-4)
    assert_close(metrics["eval_loss"], F.cross_entropy(expected.logits, labels).item(), atol=1e-5, rtol=1e-4)
    assert metrics["eval_accuracy"] == found.metrics["test_accuracy"] == accuracy(found)["accuracy"]

    once.save_model(tmp_path / "saved")
    loaded = registry.load(tmp_path / "saved")
    assert type(loaded.model) is BertForSequenceClassification
    assert_close(loaded.model.state_dict(), model.state_dict(), atol=0, rtol=0)
    assert loaded.tokenizer(TEXTS[0]) == tokenizer(TEXTS[0])
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    assert_close(theirs(**batch).logits, expected.logits, atol=1e-5, rtol=1e-4)


def test_a_resumed_run_is_the_uninterrupted_one_and_the_best_checkpoint_comes_back(
    tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    """Of a model with tied weights, which a checkpoint has once."""
    torch.manual_seed(0)
    first = BertForMaskedLM(bert(tokenizer))
    rows = [tokenizer(text, truncation=True, max_length=24) for text in TEXTS]
    rows = [{**row, "labels": row["input_ids"]} for row in rows]
    collator = {"data_collator": transformers.DataCollatorForTokenClassification(tokenizer)}
    settings: dict[str, Any] = {
        "save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "max_steps": 6,
        "load_best_model_at_end": True, "greater_is_better": True,  # the worst loss: not that of the last step
    }  # fmt: skip
    whole = trainer(copy.deepcopy(first), tokenizer, tmp_path / "whole", rows=rows, further=collator, **settings)
    whole.train()
    best = whole.state.best_model_checkpoint
    assert best.endswith("checkpoint-2")
    assert_close(whole.model.state_dict(), registry.load_model(best).state_dict(), atol=0, rtol=0)
    assert whole.model.cls.predictions.decoder.weight is whole.model.bert.embeddings.word_embeddings.weight

    resumed = trainer(copy.deepcopy(first), tokenizer, tmp_path / "resumed", rows=rows, further=collator, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert losses(resumed) == losses(whole)
    last = [registry.load_model(tmp_path / name / "checkpoint-6").state_dict() for name in ("whole", "resumed")]
    assert_close(*last, atol=0, rtol=0)


def test_a_checkpoint_lacks_just_the_second_names_of_tied_weights(tmp_path: Path) -> None:
    """Which Trainer else calls missing, in its log."""
    sizes: dict[str, Any] = {"vocab_size": 61, "d_model": 16, "d_embed": 16, "n_head": 2, "d_head": 8, "d_inner": 24}
    models = [
        BertForMaskedLM(BertConfig(vocab_size=61, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)),
        GPT2LMHeadModel(GPT2Config(vocab_size=61, n_embd=16, n_layer=1, n_head=2)),
        TransfoXLLMHeadModel(TransfoXLConfig(**sizes, cutoffs=[20, 40], n_layer=2, div_val=2, untie_r=False)),
    ]
    for model in models:
        path = registry.save(model, tmp_path / type(model).__name__) / "model.safetensors"
        missing, unexpected = model.load_state_dict(load_file(path), strict=False)
        assert set(missing) == set(model._keys_to_ignore_on_save) != set()
        assert unexpected == []


SETTINGS: dict[str, dict[str, Any]] = {
    "gradient checkpointing": {"gradient_checkpointing": True},
    "every second layer, on the CPU": {
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"every_n_layers": 2, "offload": True},
    },
    "gradient accumulation": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_less_memory_changes_no_number(settings: dict[str, Any], tokenizer: BertTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        bert(tokenizer, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2)
    )
    plain = trainer(copy.deepcopy(model), tokenizer, tmp_path / "plain")
    plain.train()
    saving = trainer(model, tokenizer, tmp_path / "saving", **settings)
    saving.train()
    assert_close(losses(saving), losses(plain), atol=1e-4, rtol=1e-4)


def test_label_smoothing_is_its_formula(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(bert(tokenizer))
    smoothed = trainer(model, tokenizer, tmp_path, label_smoothing_factor=0.2)
    found = smoothed.predict(classes(tokenizer))
    labels = torch.tensor(found.label_ids)
    expected = F.cross_entropy(torch.tensor(found.predictions), labels, label_smoothing=0.2)
    assert_close(found.metrics["test_loss"], expected.item(), atol=1e-4, rtol=1e-4)
    smoothed.train()


def test_bfloat16_and_a_model_with_a_memory(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = TransfoXLConfig(
        vocab_size=len(tokenizer), cutoffs=[100, 300], d_model=16, d_embed=16, n_head=2, d_head=8, d_inner=24,
        n_layer=2, div_val=2, mem_len=8, tgt_len=8, pad_token_id=0,
    )  # fmt: skip
    half = trainer(TransfoXLForSequenceClassification(config), tokenizer, tmp_path, bf16=True)
    half.train()
    assert all(np.isfinite(losses(half)))
    assert half.predict(classes(tokenizer)).predictions.shape == (len(TEXTS), 2)


def test_an_adapter_is_trained_and_its_checkpoint_loads(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the extra `integrations` is not installed")
    torch.manual_seed(0)
    registry.save(BertForSequenceClassification(bert(tokenizer)), tmp_path / "base", tokenizer=tokenizer)
    base = registry.load_model(tmp_path / "base")
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    settings = {"save_strategy": "steps", "save_steps": 4, "gradient_checkpointing": True}
    tuned = trainer(model, tokenizer, tmp_path / "out", **settings)
    tuned.train()
    loaded = registry.load(tmp_path / "out" / "checkpoint-4")
    expected = tuned.predict(classes(tokenizer)).predictions
    found = trainer(loaded.model, loaded.tokenizer, tmp_path / "again").predict(classes(tokenizer)).predictions
    assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_trainer_of_transformers_trains_as_well_and_says_less_in_its_directories(
    tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(bert(tokenizer))
    plain = transformers.Trainer(
        model,
        arguments(tmp_path / "out"),
        train_dataset=classes(tokenizer),
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
    )
    plain.train()
    plain.save_model(tmp_path / "saved")
    with pytest.raises(registry.errors.MissingFileError, match="no configuration") as caught:
        registry.load_model(tmp_path / "saved")
    assert "registry.integrations.trainer" in str(caught.value)
    model.config.to_json_file(tmp_path / "saved" / "config.json")
    loaded = registry.load_model(tmp_path / "saved", "sequence-classification")
    assert_close(loaded.state_dict(), model.state_dict(), atol=0, rtol=0)


def test_a_trainer_of_another_library_becomes_one_that_saves_directories(
    tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    class Theirs(transformers.Trainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **further: Any) -> Any:
            return 2 * super().compute_loss(model, inputs, return_outputs, **further)

    class Tuner(Trainer, Theirs): ...

    torch.manual_seed(0)
    model = BertForSequenceClassification(bert(tokenizer)).eval()
    rows, collator = classes(tokenizer), transformers.DataCollatorWithPadding(tokenizer)
    tuner = Tuner(model, arguments(tmp_path / "out"), train_dataset=rows, data_collator=collator)
    batch = collator(rows[:3])
    assert_close(tuner.compute_loss(model, batch), 2 * model(**batch).loss)
    tuner.save_model(tmp_path / "saved")
    assert registry.load(tmp_path / "saved").tokenizer(TEXTS[0]) == tokenizer(TEXTS[0])


# --- Collators --------------------------------------------------------------------------------------------------------


def test_collators_give_what_they_give_with_a_tokenizer_of_transformers(tokenizer: BertTokenizer) -> None:
    theirs = transformers.BertTokenizerFast(vocab=str(VOCABULARIES / "bert" / "vocab.txt"))
    plain = [tokenizer(text, truncation=True, max_length=20) for text in TEXTS[:5]]
    tagged = [{**row, "labels": list(range(len(row["input_ids"])))} for row in plain]
    for make, rows in [
        (lambda tok: transformers.DataCollatorWithPadding(tok, pad_to_multiple_of=8), classes(tokenizer)[:5]),
        (lambda tok: transformers.DataCollatorForTokenClassification(tok), tagged),
        (lambda tok: transformers.DataCollatorForLanguageModeling(tok, seed=1), plain),
        (lambda tok: transformers.DataCollatorForLanguageModeling(tok, mlm=False), plain),
    ]:
        found, expected = (dict(make(tok)(copy.deepcopy(rows))) for tok in (tokenizer, theirs))
        assert_close(found, expected, atol=0, rtol=0)
    stacked = transformers.default_data_collator(
        [tokenizer(text, padding="max_length", truncation=True, max_length=9) for text in TEXTS[:3]]
    )
    assert stacked["input_ids"].shape == (3, 9)


TASKS = {
    "tokens": (BertForTokenClassification, transformers.DataCollatorForTokenClassification),
    "masked words": (BertForMaskedLM, transformers.DataCollatorForLanguageModeling),
    "questions": (BertForQuestionAnswering, None),
    "next words": (GPT2LMHeadModel, None),
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_with_its_collator(task: str, tokenizer: BertTokenizer, tmp_path: Path) -> None:
    cls, collator = TASKS[task]
    torch.manual_seed(0)
    config: Any = bert(tokenizer, num_labels=3)
    rows: list[Any] = [tokenizer(text, truncation=True, max_length=24) for text in TEXTS]
    used: Any = None if collator is None else collator(tokenizer)
    if task == "tokens":
        rows = [{**row, "labels": [number % 3 for number in row["input_ids"]]} for row in rows]
    elif task == "questions":
        config = bert(tokenizer, num_labels=2)
        rows = [
            {
                **tokenizer(text, truncation=True, max_length=24, padding="max_length"),
                "start_positions": 1,
                "end_positions": 2,
            }
            for text in TEXTS
        ]
        used = transformers.default_data_collator
    elif task == "next words":
        tokenizer = GPT2Tokenizer.from_pretrained(VOCABULARIES / "gpt2", pad_token="<|endoftext|>")
        config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2)
        rows = [tokenizer(text, truncation=True, max_length=24) for text in TEXTS]
        used = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False)
    trained = trainer(cls(config), tokenizer, tmp_path, rows=rows, further={"data_collator": used}, max_steps=8)
    before = trained.evaluate()["eval_loss"]
    trained.train()
    assert trained.evaluate()["eval_loss"] < before
    assert trained.predict(rows[:6]).predictions is not None


# --- The same losses --------------------------------------------------------------------------------------------------


def docstrings_of(*packages: str, most: int) -> list[tuple[str, int]]:
    """Docstrings of the standard library, with the number of their package."""
    spec = importlib.util.spec_from_file_location(
        "docstrings", Path(__file__).parents[2] / "examples" / "docstrings.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [[docstring.text for docstring in module.docstrings(package)[:most]] for package in packages]
    return [(text, number) for texts in zip(*found, strict=False) for number, text in enumerate(texts)]


@pytest.mark.slow
def test_minilm_is_fine_tuned_to_the_losses_of_the_model_of_transformers(tmp_path: Path) -> None:
    """With dropout: as long as both compute padding, they draw the same random numbers."""
    name = "all-minilm-l6-v2"
    tokenizer = registry.load_tokenizer(name)
    torch.manual_seed(0)
    start = registry.load_model(name, "sequence-classification", num_labels=2)
    registry.save(start, tmp_path / "start", tokenizer=tokenizer)
    ours = registry.load_model(tmp_path / "start")
    ours.pack_padding = False
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "start")
    texts = docstrings_of("asyncio", "email", most=60)
    rows = [{**tokenizer(text, truncation=True, max_length=24), "labels": label} for text, label in texts]
    curves = []
    for cls, model in ((Trainer, ours), (transformers.Trainer, theirs)):
        settings = {"max_steps": 12, "lr_scheduler_type": "constant", "learning_rate": 2e-4, "seed": 7}
        one = cls(
            model,
            arguments(tmp_path / "out", **settings),
            train_dataset=rows,
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
        )
        one.train()
        curves.append(losses(one))
    assert len(curves[0]) == 12
    assert max(abs(a - b) for a, b in zip(*curves, strict=True)) < 1e-4
    assert sum(curves[0][-3:]) < 0.95 * sum(curves[0][:3])
