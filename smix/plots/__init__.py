"""Forms of figures, drawn from plain data: interval rows, line charts, panels, matrices and image grids.

A form takes names, arrays and styles, and knows nothing of runs: `smix.report` chooses what is shown. Every form places text
in inches and measures it first, so that no labels overlap, and labels its data directly, without a legend.
"""
