"""Receiving in processes of their own, where one core is not enough or while a collector becomes its successor.

crew.py     the collector's side: starts workers (child.py), asks each for its share of a window, merges (merge.py)
worker.py   the other side: receives, and answers with its share (share.py), in pieces (parcel.py)
standin.py  one worker that receives during a reload
"""
