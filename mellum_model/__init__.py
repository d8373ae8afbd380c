"""The Mellum 2 model: architecture, generation, checkpoints, training and post-training."""
