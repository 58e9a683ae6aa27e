"""Plain Python around the kernels: tensors become checked addresses, rows are spread over threads."""
