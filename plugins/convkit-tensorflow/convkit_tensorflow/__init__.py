"""TensorFlow SavedModels, frozen graphs, and the way from them to TFLite."""
