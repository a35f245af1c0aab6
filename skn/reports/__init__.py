"""Reports of a run, of a sweep and of a searchlight: the data that they read, their figures, and their pages."""
