-- needs: number, rules, counters
-- Reads and books the ledger of hosts, and of groups of hosts that share an address, before a request is handed out.
--
-- Gives  ledger_of(claim, name) → the ledger of a host or group
--        share_cap(claim, own, group) gives a group the cap that a rule sets for one of its hosts
--        shared_pace(claim, own, group) → the ms between requests to the group
--        is_free(claim, ledger) → whether the host or group may be asked now
--        line_up(claim, group) puts the shard into the group's line of shards
--        look_later(claim, job, set, ledger) makes it due at its next turn, or when it has room
--        stand_in_line(claim, job, host, group) puts a host in the line of its group, which is in use
--        book(claim, ledger, count, pace) books `count` requests, and the next turn `pace` ms from now
-- Of `claim`: P, shard (the number of the shard that wants a turn, as text), now, cap, delay, jitter, random. Of `job`:
-- name, J, counters.
-- Stays true: a host or group that is not in its set (`hosts`, `groups`) is named in `waiting`, or in a line; rules
-- override the settings. A group whose hosts lie in several shards has a line of those that were refused a turn: the
-- first may take the next turn, each further one a pace later. So they take turns, and one that does not come any more
-- costs the others one turn.

-- The shards in a group's line, and how many of them are before `shard`: all, if it is not in line.
local no_line = {}
local function line_of_shards(text, shard)
  if not text or text == '' then return no_line, 0 end
  local line, ahead = {}, nil
  for each in string.gmatch(text, '%S+') do
    if each == shard then ahead = #line end
    line[#line + 1] = each
  end
  return line, ahead or #line
end

local function ledger_of(claim, name)
  local P = claim.P
  local found = redis.call('HMGET', P .. 'host:' .. name,
    'next', 'inflight', 'delay', 'waiting', 'group', 'cap', 'busy', 'failures', 'latency', 'pace', 'shards')
  local capped = rule(P, 'concurrency host ' .. name)
  local is_ill, shared = as_number(found[7]) > 0 or as_number(found[8]) >= BREAKER, as_number(found[6])
  local turn, pace, line, ahead = as_number(found[1]), as_number(found[10]), line_of_shards(found[11], claim.shard)
  return {
    name = name,
    turn = turn,
    due = turn + ahead * pace,
    pace = pace,
    line = line,
    ahead = ahead,
    inflight = as_number(found[2]),
    delay = as_number(found[3]),
    waiting = found[4] or '',
    group = found[5] ~= '' and found[5] or nil,
    ordered = rule(P, 'rate host ' .. name),
    -- a busy or unreachable host gets one request at a time, which tests whether it has recovered
    cap = is_ill and 1 or capped or is_ruled(P) and shared > 0 and shared or claim.cap,
    capped = capped,
    latency = as_number(found[9]),
  }
end

-- A rule for the group itself has priority.
local function share_cap(claim, own, group)
  if not own.capped or group.capped or group.cap == own.capped then return end
  group.cap = own.capped
  redis.call('HSET', claim.P .. 'host:' .. group.name, 'cap', own.capped)
end

local function shared_pace(claim, own, group)
  return group.ordered or math.min(own.ordered or claim.delay, claim.delay)
end

local function is_free(claim, ledger)
  return ledger.inflight < ledger.cap and ledger.due <= claim.now
end

local function line_up(claim, group)
  if group.line[group.ahead + 1] == claim.shard then return end
  redis.call('HSET', claim.P .. 'host:' .. group.name, 'shards', table.concat(group.line, ' ') .. ' ' .. claim.shard)
end

local function look_later(claim, job, set, ledger)
  if #ledger.line > 0 then line_up(claim, ledger) end
  if ledger.inflight < ledger.cap then
    redis.call('ZADD', job.J .. set, ledger.due, ledger.name)
    return
  end
  redis.call('ZREM', job.J .. set, ledger.name)
  local word = set == 'groups' and '@' .. job.name or job.name
  if not string.find(' ' .. ledger.waiting .. ' ', ' ' .. word .. ' ', 1, true) then
    redis.call('HSET', claim.P .. 'host:' .. ledger.name, 'waiting', ledger.waiting .. ' ' .. word)
  end
end

local function stand_in_line(claim, job, host, group)
  redis.call('ZREM', job.J .. 'hosts', host)
  tally(job.counters, 'lined', redis.call('ZADD', job.J .. 'line:' .. group.name, 'NX', claim.now, host))
  look_later(claim, job, 'groups', group)
end

-- A multiplicative congruential generator (Park and Miller), the scripts' source of random numbers.
local function turn_after(claim, pace)
  claim.random = (claim.random * 16807) % 2147483647
  return claim.now + math.ceil(pace * (1 + claim.jitter * claim.random / 2147483647))
end

local function book(claim, ledger, count, pace)
  local before = ledger.turn
  ledger.inflight, ledger.due = ledger.inflight + count, turn_after(claim, pace)
  local H = claim.P .. 'host:' .. ledger.name
  redis.call('HSET', H, 'next', ledger.due, 'inflight', ledger.inflight, 'pace', pace, 'before', before)
  if #ledger.line > 0 then redis.call('HSET', H, 'shards', table.concat(ledger.line, ' ', ledger.ahead + 2)) end
  if ledger.ordered then redis.call('HSET', H, 'usual', claim.delay) end
  redis.call('PEXPIRE', H, LEDGER_TTL)
end
