"""From a folder of images to a classifier that you keep: split, features, heads,
report, keep, a module each; each function is of use by itself."""
