"""Ultralytics plugin of convkit: reads checkpoints without running their code, exports them."""
