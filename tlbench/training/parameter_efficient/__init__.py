"""Parameter-efficient training: a few trained tensors in or beside a frozen backbone."""
