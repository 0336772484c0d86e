"""Forms of figures: interval rows, line charts, panels, matrices and image grids, drawn from plain data.

A form takes names, arrays and styles; they know nothing of runs. Every form places its
texts in inches and measures them first, so that no text overlaps another, and labels its data directly, without a legend.
"""
