"""The names of BERT's weights in Google's TensorFlow checkpoints; imported when one is read."""

from registry.weights.names import NameTable, transposed

LAYER, OURS = "bert/encoder/layer_{i}", "bert.encoder.layer.{i}"

TENSORFLOW = NameTable(
    ("bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight"),
    ("bert/embeddings/position_embeddings", "bert.embeddings.position_embeddings.weight"),
    ("bert/embeddings/token_type_embeddings", "bert.embeddings.token_type_embeddings.weight"),
    ("bert/embeddings/LayerNorm/gamma", "bert.embeddings.LayerNorm.weight"),
    ("bert/embeddings/LayerNorm/beta", "bert.embeddings.LayerNorm.bias"),
    (f"{LAYER}/attention/self/query/kernel", f"{OURS}.attention.self.query.weight", transposed),
    (f"{LAYER}/attention/self/query/bias", f"{OURS}.attention.self.query.bias"),
    (f"{LAYER}/attention/self/key/kernel", f"{OURS}.attention.self.key.weight", transposed),
    (f"{LAYER}/attention/self/key/bias", f"{OURS}.attention.self.key.bias"),
    (f"{LAYER}/attention/self/value/kernel", f"{OURS}.attention.self.value.weight", transposed),
    (f"{LAYER}/attention/self/value/bias", f"{OURS}.attention.self.value.bias"),
    (f"{LAYER}/attention/output/dense/kernel", f"{OURS}.attention.output.dense.weight", transposed),
    (f"{LAYER}/attention/output/dense/bias", f"{OURS}.attention.output.dense.bias"),
    (f"{LAYER}/attention/output/LayerNorm/gamma", f"{OURS}.attention.output.LayerNorm.weight"),
    (f"{LAYER}/attention/output/LayerNorm/beta", f"{OURS}.attention.output.LayerNorm.bias"),
    (f"{LAYER}/intermediate/dense/kernel", f"{OURS}.intermediate.dense.weight", transposed),
    (f"{LAYER}/intermediate/dense/bias", f"{OURS}.intermediate.dense.bias"),
    (f"{LAYER}/output/dense/kernel", f"{OURS}.output.dense.weight", transposed),
    (f"{LAYER}/output/dense/bias", f"{OURS}.output.dense.bias"),
    (f"{LAYER}/output/LayerNorm/gamma", f"{OURS}.output.LayerNorm.weight"),
    (f"{LAYER}/output/LayerNorm/beta", f"{OURS}.output.LayerNorm.bias"),
    ("bert/pooler/dense/kernel", "bert.pooler.dense.weight", transposed),
    ("bert/pooler/dense/bias", "bert.pooler.dense.bias"),
    ("cls/predictions/transform/dense/kernel", "cls.predictions.transform.dense.weight", transposed),
    ("cls/predictions/transform/dense/bias", "cls.predictions.transform.dense.bias"),
    ("cls/predictions/transform/LayerNorm/gamma", "cls.predictions.transform.LayerNorm.weight"),
    ("cls/predictions/transform/LayerNorm/beta", "cls.predictions.transform.LayerNorm.bias"),
    ("cls/predictions/output_bias", "cls.predictions.bias"),
    ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight"),  # (out, in), unlike a kernel
    ("cls/seq_relationship/output_bias", "cls.seq_relationship.bias"),
    ("cls/squad/output_weights", "qa_outputs.weight"),  # written by run_squad.py
    ("cls/squad/output_bias", "qa_outputs.bias"),
    ("output_weights", "classifier.weight"),  # written by run_classifier.py
    ("output_bias", "classifier.bias"),
    # Optimizer states: Google's optimizer for BERT, and TensorFlow's own Adam.
    dropped=("{name}/adam_m", "{name}/adam_v", "{name}/Adam", "{name}/Adam_1", "beta1_power", "beta2_power")
    + ("global_step",),
)
"""From the names of Google's release (google-research/bert, modeling.py), and of its fine-tuned models."""
