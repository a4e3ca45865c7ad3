"""Answering conversations: reading, decoding and the cache between them."""
