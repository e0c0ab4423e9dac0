"""ONNX to TensorFlow SavedModel by onnx-tf, which lives in an environment of its own."""
