"""What is done with models that processes share: estimates without any process, checkpoints of training."""
