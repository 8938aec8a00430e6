"""What the rewards share whose networks were published on the hub: files, weights, pixels, place."""
