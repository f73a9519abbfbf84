"""A reproducible benchmark of the crawler and its peers: CPU time per page, on its own sites on this machine.

corpus      the sites as files, and the pages a crawl of them must fetch
webserver   nginx on a core of its own; its log says who fetched what
process     runs one command on the other core: CPU, time, memory
contenders  the crawlers and how each is started (`peers/` and `spiders/` hold what they run)
rounds      all contenders in turn, several times; nothing counts before its coverage is right
queue       the frontier alone: client and server CPU, bytes, at many sizes
"""
