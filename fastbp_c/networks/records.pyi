CHAIN: int
