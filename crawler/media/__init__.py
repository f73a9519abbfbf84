"""Where the files of items are kept, by their content."""
