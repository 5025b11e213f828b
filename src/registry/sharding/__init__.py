"""Models divided over processes: plans, shares of tensors, divided layers, agreement of all processes."""
