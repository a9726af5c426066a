"""The authors' names of their net's variables."""


def keras_variables(state, first=1):
    """The inverse of the conversion, as the authors' checkpoints name their variables."""
    variables = {}
    for i, name in enumerate(("conv1", "conv2", "conv3")):
        variables[f"convolution2d_{first + i}_W"] = state[f"{name}.weight"].permute(2, 3, 1, 0).numpy().copy()
        variables[f"convolution2d_{first + i}_b"] = state[f"{name}.bias"].numpy()
    dense = state["fc.weight"].view(18, 128, 2, 2).permute(2, 3, 1, 0).reshape(512, 18)
    variables[f"dense_{first}_W"] = dense.numpy().copy()
    variables[f"dense_{first}_b"] = state["fc.bias"].numpy()
    return variables
