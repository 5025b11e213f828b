"""How BERT is divided over processes."""

from registry.sharding.plans import ParallelPlan

PLAN = ParallelPlan(
    blocks=("bert.encoder.layer.*",),
    tensor={
        "bert.embeddings.word_embeddings": "vocabulary",
        "bert.encoder.layer.*.attention.self.query": "colwise",
        "bert.encoder.layer.*.attention.self.key": "colwise",
        "bert.encoder.layer.*.attention.self.value": "colwise",
        "bert.encoder.layer.*.attention.output.dense": "rowwise",
        "bert.encoder.layer.*.intermediate.dense": "colwise",
        "bert.encoder.layer.*.output.dense": "rowwise",
        "cls.predictions.decoder": "scores",
    },
    divisible=("num_attention_heads",),
)
