"""The pages themselves, as WARC files: written by workers, read again with new code."""
