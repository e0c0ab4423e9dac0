"""The page's own sections, one file each: a comparison in, a `Section` out, or None where the
comparison has nothing to say on the matter."""
