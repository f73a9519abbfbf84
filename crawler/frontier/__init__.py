"""All shared state of a crawl: which URLs are known, who works on what, when a host may be asked.

A request is in exactly one state. One Lua script (`lua/`) makes each change of state, so a change happens whole
or not at all:

    from                     event                              to                                       script
    (unknown)                add                                pending                                  add
    pending                  claim (host ready, due)            processing                               claim
    processing               commit(Done or Skip)               done                                     commit
    processing               commit(Retry)                      pending, not before, attempt + 1         commit
    processing               commit(Dead), bury                 dead                                     commit
    processing               the same, if the host is at fault  pending, attempt not counted             commit
    processing               commit(Release), set_aside         pending, attempt not counted             commit
    processing, worker gone  reap                               pending, crash + 1; dead at MAX_CRASHES  reap
    dead                     redrive (by a person)              pending, attempt 0, crash 0              redrive
    pending                  claim (of a blocked request)       done, as skipped                         claim
    dead                     drop (by a person)                 dropped                                  drop

Rules:

- Only the holder moves a lease. A commit first removes the bytes it claimed from its own processing list (`LREM`);
  when they are not there, it does nothing else. Every return to pending changes the bytes (`delivery`), so a late
  commit of an older delivery matches nothing.
- Repeating a call is safe. The seen-set makes `add` idempotent; `claim` and `commit` carry a token, and the same
  token gets the same answer.
- There is one clock: the server's `TIME`, read inside the script.
- A worker adds a page's links first and commits the page afterwards. After a crash in between, the next worker adds
  the links again, which changes nothing.
- A host joins a group (`join`) before a worker first asks it. The lease that looked the group up may get a turn of it
  in the same step. From then on a claim books the host's turn and the group's in one step, and a commit settles both.
- If the group is at home in another shard than the host, the claim books the turn in the host's shard alone. Before the
  host is asked, the visit takes a turn at the group's home (`turn`); the commit ends it (`end_turns`), or `reap`.
- A lease that asks a host for robots.txt (`take`) has the host to itself: claims hand out no other page of the host,
  in any job. The right ends with the lease, however the lease ends; it has no clock of its own.
- A paused request stays where it is: claims pass it over until a person resumes it (`pause`). `commit` and `reap`
  pause a host or a spider by themselves when most of its last pages failed alike.
- A closed job (`close`) hands out nothing more; its leases end as usual. In a limited job, the pages read and in flight
  never exceed its limit, over all shards: a claim obeys the quota of its shard, which borrows from the job's budget in
  the first shard (`limit`, `draw`).
- The next claim of any worker obeys the rules that people set (`control`): they replace the pace and the cap of the
  settings, pause requests, or end blocked ones.
- A tick of a schedule is decided once: only a caller that has read the present timetable can replace it (`schedule`),
  and only when the tick is due.
- A script never stops half-way. Either its first write may fail for lack of memory, and then nothing has happened; or
  the first write frees memory, and then the server lets the rest of the script through.
- Counters that only grow prove that a job is finished: a reader reads `finished` of all shards, then `admitted` of
  all shards. Equal sums mean that nothing was in flight between the two reads (Mattern's four-counter method).

`keys.py` describes every key. A host belongs to one shard (by hash), and all keys of a shard share one hash tag, so
the shards may live on different nodes of a cluster.
"""
