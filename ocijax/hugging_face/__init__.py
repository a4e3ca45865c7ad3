"""Models as the folders that Hugging Face's libraries read and write."""
