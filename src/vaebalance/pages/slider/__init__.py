"""The trade-off over β: a page with a slider, and an animation.

The input is one ordinary VAE per β, from any training method.

examples      the test images and codes that are shown at every β
states        what each model shows at its β, as plain data
facts         title, named β and caution of a curve
backdrops     static axes of the charts
motion        positions of the moving marks, in pixels of the axes
body          the slider and its views, as a part of a page
slider_page   the slider as a self-contained page
curve_page    page, animation and states in the folder of a saved curve
saved_states  states on disk, for pages that are made later
animation     a GIF for slides
"""
