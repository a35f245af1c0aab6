"""What a report shows, its figures, and the page: of a run, of a sweep, of a searchlight."""
