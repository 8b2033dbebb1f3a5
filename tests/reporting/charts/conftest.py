"""Lets tests import the charts beside them."""
