"""Figures from plain data: arrays and tables in, pictures and chart specifications out.

    colours          what each colour means, in the light and in the dark
    charts           Vega-Lite charts, and what all of them share
    densities        the aggregate posterior of a latent against its prior
    rate_distortion  models between rate and distortion
    export           a chart as PNG and SVG
    planes           codes of any size -> points in a plane
    pictures         images -> sheets and strips of pixels, as PNG and SVG

Nothing here knows a page, a file's name or a model. Libraries for drawing are imported where they
are used.
"""
