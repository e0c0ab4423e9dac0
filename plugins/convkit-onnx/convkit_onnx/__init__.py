"""ONNX plugin of convkit: inspects, simplifies and runs ONNX models."""
