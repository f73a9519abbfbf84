-- needs: clock, message, counters, skips, letters, line, ledger, health, alike, later, failing, outbox, closing,
--        coverage, drift
-- processing → done | pending | dead, as each visit ended: items and acknowledgement in one step.
--
-- KEYS  1 J processing:W
-- ARGV  1 as MessagePack, by name:
--         P, worker, job, epoch, token, delay (ms between requests to a host that asked for no delay)
--         share and least: share and number of pages that must fail alike before their host or spider is paused
--         drift_share and drift_min: when a callback whose items lack a field is paused (see `drift.lua`)
--         backoff   ms, the first back-off; patience: ms before failures of an unreachable host count as the page's
--         target    requests that should be in flight to a host (0: a fixed pace); longest: ms, longest adapted delay
--         visits    for each lease:
--           kind    done|skip|step|retry|release|early (its group had no turn)|aside|dead|spent (all its tries)|junk
--           host, status ('': none), size in bytes, health (see `health.lua`), verdict (see `alike.lua`)
--           age     ms since the host was asked (nil: not asked, or unknown); is_unused: it was certainly not asked
--           took    ms that the answer took (nil: unknown)
--           pause   ms that the host asked for; host_delay: ms between requests that it asked for (nil: unchanged)
--           delay   ms before the request may be handed out again
--           turn    ms until its group, which is at home in another shard, has a turn (nil: it is at home in this one)
--           counters  name → how much to add; filled: which fields of its items are filled (see `coverage.lua`)
--           items   number of items; links: number of links (of pages that were read)
--           keys    of its items, one for each, '' for an item that is kept in any case; none: all are kept
--           kinds   the name of each one's class, '' for a dict; none: all are dicts
--           archived  the page's line in the index of the archive ('': it is in none, or will be visited again)
--           cause   a word for a failure of the host (see `health.lua`); close: why the spider closes the job, or ''
--           failure words about the error of a retry or a dead page; '' for other kinds
--       then three byte strings for each lease: its message; its items as JSON lines; and
--         skip: the reason, a line break, the detail | retry, release, early, aside: the new message |
--         dead, spent, junk: the record
-- Returns a string with a character for each lease: 0, the worker no longer had it; else it is committed, and b says
-- that its host is back after a rest, r that its host rests now, 1 neither; then for each r a space, the ms of the
-- rest, a colon, and how often in a row the host rests; then a line for each callback that it paused. Or GONE.
-- Stays true: the items of each committed lease are in the outbox, each key once, and so is its line of the index;
-- a lease that got 0 changed nothing; the same token returns the same string and does nothing.

local commit = cmsgpack.unpack(ARGV[1])
local P, job = commit.P, commit.job
local J, W = P .. 'job:' .. job .. ':', P .. 'worker:' .. commit.worker
local last = redis.call('HMGET', W, 'commit', 'reply')
if last[1] == commit.token then return last[2] end
if gone(J .. 'stats', commit.epoch) then return redis.error_reply('GONE') end
local now, counters = now_ms(), {}
commit.J, commit.now, commit.counters = J, now, counters

local function back_to_pending(delay, message, counter)
  put_back(J, message, now, delay)
  tally(counters, 'pending')
  tally(counters, counter)
end

local function finish(state)
  tally(counters, state)
  tally(counters, 'finished')
end

-- Ends a lease, by its kind. Arguments: the visit, its message, the last of its byte strings.
local apply = {
  done = function()
    finish('done')
    tally(counters, 'pages')
  end,
  skip = function(_, message, why)
    local reason, detail = string.match(why, '^([^\n]*)\n?(.*)$')
    finish('done')
    tally(counters, 'skip/' .. reason)
    note_skip(J, url_of(message) or '', reason, detail)
  end,
  step = function()
    finish('done')
    tally(counters, 'steps')
  end,
  retry = function(visit, _, message) back_to_pending(visit.delay, message, 'retried') end,
  release = function(visit, _, message) back_to_pending(visit.delay, message, 'released') end,
  early = function(_, _, message) back_to_pending(0, message, 'released') end,
  spared = function(_, message) back_to_pending(0, redelivered(message, 0), 'spared') end,
  aside = function(visit, _, message)
    redis.call('ZADD', J .. 'delayed', now + visit.delay, message)
    tally(counters, 'pending')
    tally(counters, 'set_aside')
    waits_for_newer(J, message, counters)
  end,
  dead = function(_, message, record)
    finish('dead')
    bury(J, message, record, now)
    tally(counters, 'dead/' .. (string.match(record, '"kind":"([%w_]+)"') or 'unknown'))
  end,
  junk = function(_, message, record)
    bury_junk(J, message, record, now, counters)
    tally(counters, 'pending') -- the claim counted it as taken from pending, where it was never counted
  end,
}
apply.spent = apply.dead

local function end_lease(visit, message, items, payload)
  tally(counters, 'processing', -1)
  if visit.is_unused then tally(counters, 'handed_out', -1) end -- its host was not asked, so it does not count
  if visit.status ~= '' then tally(counters, 'status/' .. visit.status) end
  tally(counters, 'bytes', visit.size)
  for name, by in pairs(visit.counters) do tally(counters, name, by) end
  local kind, tries = visit.kind, visit.kind == 'spent' and select(3, read(message)) + 1 or nil
  local rest, is_hosts, news = note_health(commit, visit, tries)
  local is_spared = is_hosts and (kind == 'retry' or kind == 'spent')
  if kind ~= 'aside' then waits_no_more(J, message, counters) end
  if is_spared or kind == 'retry' then note_failing(J, message, visit.failure, now)
  elseif kind ~= 'release' and kind ~= 'early' and kind ~= 'aside' and kind ~= 'junk' then fails_no_more(J, message) end
  apply[is_spared and 'spared' or kind](visit, message, payload)
  if visit.close ~= '' and not is_spared then close(J .. 'stats', visit.close, now) end
  local position = ''
  if (visit.items > 0 or visit.archived ~= '') and not is_spared then
    local kept, number, kinds, keys = new_items(J, visit, items)
    if number > 0 or visit.archived ~= '' then position = append(J, message, kept, kinds, visit.archived) end
    note_coverage(J, visit, message, keys, counters)
    tally(counters, 'items', number)
    tally(counters, 'dropped/duplicate_item', visit.items - number)
  end
  watch(J, visit.host, message, visit.verdict, visit.failure, commit, now)
  local groups_turn = settle(P, visit.host, now, {
    asked = visit.age and now - visit.age, pace = math.max(commit.delay, note_latency(commit, visit)),
    delay = visit.host_delay, rest = rest, turn = visit.turn, unused = visit.is_unused and J or nil,
  })
  if kind == 'early' and groups_turn then tally(counters, 'lined', stand_first(P, J, visit.host, groups_turn)) end
  return news, rest, position
end

local replies, rests, pages_read = {}, {}, {}
for i, visit in ipairs(commit.visits) do
  local message, items, payload = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
  if redis.call('LREM', KEYS[1], 1, message) == 1 then
    local news, rest, position = end_lease(visit, message, items, payload)
    replies[i] = news == nil and '1' or news == came_back and 'b' or 'r'
    if visit.kind == 'done' then
      pages_read[#pages_read + 1] = string.match(message, '"([^"]*)"') -- the URL, without a whole parse
      pages_read[#pages_read + 1] = string.format(
        '%s %d %d %d %s', visit.status, visit.size, visit.items, visit.links, position)
    end
    if replies[i] == 'r' then rests[#rests + 1] = string.format(' %d:%d', rest - now, news) end
  elseif visit.kind ~= 'junk' and visit.kind ~= 'aside' then -- the client sends those to each shard
    tally(counters, 'fenced')
  end
  replies[i] = replies[i] or '0'
end
count(J .. 'stats', counters)
note_time()
if #pages_read > 0 then
  redis.call('XADD', J .. 'read', 'MAXLEN', '~', READS_KEPT, '*', 'worker', commit.worker, unpack(pages_read))
end
local lines = { table.concat(replies) .. table.concat(rests), unpack(close_windows(J, commit, now)) }
local reply = table.concat(lines, '\n')
redis.call('HSET', W, 'commit', commit.token, 'reply', reply)
return reply
