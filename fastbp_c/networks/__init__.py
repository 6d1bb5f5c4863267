"""Layer records, what layers do, and the passes over them."""
