"""Write code, run it, read what happened, repair it."""
