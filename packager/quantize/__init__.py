"""How int8 artifacts are made. One technique, one file.

A technique for TorchScript takes the network and returns a network; one for ONNX takes a file and returns a file.
"""

NO_LINEAR_LAYER = "the network has no linear layer, and dynamic quantization takes no other"
NOT_DYNAMIC = "--quantize static"
