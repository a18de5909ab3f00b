"""Building blocks of all pages.

blocks    parts of a panel: prose, tables, charts, pictures
page      HTML from panels
words     numbers and names in running text
decoded   images that a model decodes from codes
csv_text  tables as CSV
vega      the scripts that draw charts in a browser
"""
