"""Conversations to packed rows: tokenisation, masks, packing and the input pipeline."""
