"""What people order while a crawl runs, and what they do with its dead letters. Pure: words in, values out."""
