"""Several runs side by side, on a page like the report's.

options          what a person asks for
compare          the command: the page, or the list of runs
chosen_runs      runs chosen by the names that users give
compared_runs    the data of each run, and which numbers are comparable
panels           one function per panel of the page
comparison_page  the comparison's folder
"""
