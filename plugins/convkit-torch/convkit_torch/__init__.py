"""PyTorch plugin of convkit: reads torch models safely and exports them to ONNX."""
