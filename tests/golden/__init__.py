"""Short runs whose results must not change."""
