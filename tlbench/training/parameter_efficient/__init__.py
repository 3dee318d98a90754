"""A few trained tensors beside a frozen backbone."""
