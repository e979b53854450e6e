// In the place of the theme's script of this name, 1.5 MB that turn icons into SVG. Its
// style sheet draws the same icons with a font.
