"""No torch, as in a plain installation: where there is one, TensorBoard's writer waits for it."""

raise ModuleNotFoundError("No module named 'torch'", name="torch")
