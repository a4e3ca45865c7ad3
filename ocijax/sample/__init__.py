"""Answering conversations: prefill, decode and the cache between them."""
