"""NNCF for convkit: post-training quantization and weight compression."""
