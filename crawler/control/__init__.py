"""The rules people set while a crawl runs, and the selection of dead letters. Pure: words in, values out."""
