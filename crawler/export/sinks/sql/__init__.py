"""Items as rows of a table: what all databases share, and one file for each of them."""
