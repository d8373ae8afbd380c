"""After pre-training: supervised fine-tuning, and reinforcement learning from verifiable rewards."""
