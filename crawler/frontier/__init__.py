"""All shared state of a crawl: which URLs are known, who works on what, when a host may be asked.

A request is in exactly one state, and every change of state is one Lua script (`lua/`), so that it happens whole
or not at all:

    from                     event                           to                                 script
    (unknown)                add                             pending                            add
    pending                  claim (host ready, due)         processing                         claim
    processing               commit(Done or Skip)            done                               commit
    processing               commit(Retry)                   pending, not before, attempt + 1   commit
    processing               commit(Dead), bury              dead                               commit
    processing               the same, but it is the host that fails   pending, attempt not counted  commit
    processing               commit(Release), set_aside      pending, attempt not counted       commit
    processing, worker gone  reap                            pending, crash + 1; dead when used up   reap
    dead                     redrive (by a person)           pending, clean account             redrive
    pending                  claim (what people blocked)     done, as skipped                   claim
    dead                     drop (by a person)              dropped                            drop

Rules:

- Only the holder moves a lease: a commit first removes the very bytes it claimed from its own processing list
  (`LREM`), and does nothing else when they are not there. Every return to pending changes the bytes (`delivery`),
  so a late commit of an older delivery matches nothing.
- Repeating a call is safe. `add` is idempotent by the seen-set; `claim` and `commit` carry a token, and the same
  token gets the same answer again.
- One clock: the server's `TIME`, read inside the script.
- Links are added first, then the page commits. A crash in between adds them again, which changes nothing.
- A host joins a group (`join`) before it is first asked; a claim then books the host's turn and the group's in one
  step, and a commit settles both.
- While one of its pages asks a host for robots.txt (`take`), that lease has the host to itself: no other page of it
  is handed out, in any job. The right ends with the lease, whatever ends that; it has no clock of its own.
- What is paused stays where it is: a claim passes it over until it is resumed (`pause`). `commit` and `reap` pause a
  host or a spider by themselves when most of its last pages failed alike.
- Rules that people set (`control`) are obeyed by the next claim, whoever makes it: they replace the pace and the cap
  of the settings, hold back, or end what is blocked.
- A script's first write either may fail for want of memory (then nothing has happened), or frees memory (and then
  the server lets the rest of the script through): it can never stop half-way.
- Finished is proven by counters that only grow: `finished` of all shards is read first, then `admitted` of all
  shards. Equal sums mean that nothing was on its way between the two reads (Mattern's four-counter method).

Every key is described in `keys.py`. A host belongs to one shard (by hash), and all keys of a shard share one hash
tag, so the shards may live on different nodes of a cluster.
"""
