"""HTML pages that need no other file and no network.

kit         blocks, page frame, words and numbers that all pages share
figures     plain data to pictures and charts
report      one run
slider      one curve, from low to high β
comparison  several runs side by side
dvc_plots   the template of `dvc plots`, which works offline
"""
