"""How good lists are: splits → lists for the test users → metrics → intervals.

What belongs here: which pairs are held back, what is measured on lists and how sure a figure is.
What does not: fitting and choosing strategies.
"""
