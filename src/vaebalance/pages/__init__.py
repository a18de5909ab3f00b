"""Self-contained HTML pages, which need no other file and no network.

kit         blocks, page frame and number formatting, shared by all pages
figures     pictures and charts from plain data
report      one run
slider      one curve, from low to high β
comparison  several runs side by side
dvc_plots   an offline template for `dvc plots`
"""
