"""Figures, tables and one page per sweep, drawn from data frames that `app` hands over.

data            what a report is made from; the order of trials
sections, page  the HTML page and the files beside it          overview  the one picture of a sweep
search_history, searched, contours, parallel, pareto_front, front_growth     the objective over trials and searched keys
lead, levels, solving                                          who is best, who solved, and how sure that is
dynamics, gradient_profiles, device_use                        what training looked like, and what it cost
interactive     figures to play with                           page_tables  the CSV files
published, comparison, comparison_figure, questions            a paper's table beside ours, its questions answered
statistics, evidence                                           tests and intervals; what too few trials cannot carry
style, fates, placement, files                                 what all figures and files share
"""
