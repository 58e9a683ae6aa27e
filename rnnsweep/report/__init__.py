"""Figures, tables and one page per sweep, drawn from data frames that `app` hands over.

data    what a report is made from            style       colours, fonts, axes that all figures share
history progress of the search                searched    objective against the searched keys
solving who solved, and when                  dynamics    what training looked like in the best trials
overview the one picture of a sweep           tables      the CSV files
published numbers from the papers             page        the HTML page and the files beside it
"""
