"""TFLite for convkit, on litert-torch, ai-edge-quantizer and ai-edge-litert."""
