"""Plans: what a recipe needs of devices, before any of them is used."""
