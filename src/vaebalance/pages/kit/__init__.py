"""What all pages are made of.

blocks    parts of a panel: prose, tables, charts, pictures
page      panels to HTML
words     numbers and names in running text
decoded   what a model makes of codes
csv_text  tables as CSV
vega      the scripts that draw charts in a browser
"""
