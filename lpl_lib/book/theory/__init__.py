"""Theory in closed form: what the chapters state, as functions that can be evaluated."""
