"""Forms of figures, drawn from plain data: interval rows, line charts, panels, matrices and image grids.

A form takes names, arrays and styles, and knows nothing of runs: `smix.report` chooses what is shown. Every form places its texts
in inches and measures them first, so that no text overlaps another, and labels its data directly, without a legend.
"""
