"""The gallery: the executed course as a static site, to be read from a folder without a network."""
