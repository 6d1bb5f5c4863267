"""What users pass, made into what the kernels take; room for results."""
