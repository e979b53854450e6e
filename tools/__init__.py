"""What builds and checks the book: stamps, the notebook runner, the renderer."""
