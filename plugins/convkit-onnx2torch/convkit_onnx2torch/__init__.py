"""ONNX to PyTorch for convkit."""
