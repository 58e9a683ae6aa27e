"""Read-outs: what the linear map to the outputs is applied to, one file each."""
