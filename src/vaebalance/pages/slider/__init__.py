"""The whole trade-off under one's finger: a page with a slider over β, and an animation of it.

All that is needed is an ordinary VAE at each of some β, however they came about.

shown      which test images and which codes are shown at every β
states     the models -> what is to be seen at each β, as plain data
backdrops  axes that stay while what they measure moves
motion     what moves, in the pixels of those axes
body       states -> the slider and all that it moves, as a part of a page
page       the same as a page of its own, that needs no other file and no network
saved      states on disk, for a page that is made later
animation  states -> a GIF for slides
"""
