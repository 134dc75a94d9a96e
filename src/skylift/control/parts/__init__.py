"""The kinds of parts, one file each, behind one seam: observe, put, remove."""
