"""Several runs side by side, on a page like the report's.

cli         the arguments of pipelines/compare.py; light, so that --help is quick
command     what the arguments ask for
choice      names as people give them -> runs
contenders  runs -> what is compared of each, and which of its numbers compare
panels      one function a panel of the page
build       contenders -> the comparison's folder
"""
