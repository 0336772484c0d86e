"""Figures of a report: each is one of the forms of `smix.plots` with a query of a comparison.

Every figure is a function of a comparison and of the assets of its report, and returns None if there is nothing to show.
"""
