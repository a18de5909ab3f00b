"""Several runs side by side, on a page like the report's.

options          what a person asks for
compare          `vaebalance compare`: the page, or the list of runs
chosen_runs      names as people give them -> runs
compared_runs    runs -> what is compared of each, and which of its numbers compare
panels           one function a panel of the page
comparison_page  runs -> the comparison's folder
"""
