"""What chapters do by other means than a network of layers."""
