"""Figures from plain data: arrays and tables in, pictures and chart specifications out.

    colours          the light and the dark palette
    charts           Vega-Lite charts and their theme
    densities        the aggregate posterior of a latent beside its prior
    rate_distortion  models in the rate–distortion plane
    export           charts as PNG and SVG
    planes           projections of codes onto a plane
    picture_sheets   sheets and strips of images, as PNG, WebP and SVG

No module here depends on a page or a model. Drawing libraries are slow to import, so functions
import them on use.
"""
