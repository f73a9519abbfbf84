-- needs: number, orders, asking
-- The ledger of hosts, and of the groups of hosts that share an address: a request in flight has ended.
--
-- Gives  settle(P, host, now, visit) and end_requests(P, name, n, inflight, waiting, due, now); see there
--        adapted(latency, target, longest) → the ms between requests to a host that takes `latency` ms for its answers:
--        so many that `target` of them would be on their way at once, `longest` at most; 0: the pace is not adapted
-- Stays true: `inflight` is the number of leases; whoever is named in `waiting` is looked at again.

local function adapted(latency, target, longest)
  return target > 0 and math.min(longest, latency / target) or 0
end

-- A host or group has `n` requests less in flight and is not asked before `due`. Wakes the jobs that waits for room:
-- for the host itself, or (`@JOB`) for the hosts in the group's line.
local function end_requests(P, name, n, inflight, waiting, due, now)
  local H = P .. 'host:' .. name
  redis.call('HSET', H, 'next', due, 'inflight', math.max(0, inflight - n), 'waiting', '', 'before', '')
  for at, job in string.gmatch(waiting, '(@?)(%S+)') do
    local J = P .. 'job:' .. job .. ':'
    if redis.call('EXISTS', J .. 'stats') == 1 then
      redis.call('ZADD', J .. (at == '' and 'hosts' or 'groups'), math.max(due, now), name)
    end
  end
end

-- When a host or group may be asked again if the turn that the last claim booked was not used: at once, unless another
-- request is on its way. `J`: the job whose hosts are looked at then; nil: the turn was used, or may have been.
local function unless_unused(J, set, name, due, inflight, before)
  if not J or as_number(inflight) ~= 1 or (before or '') == '' then return due end
  before = as_number(before)
  redis.call('ZADD', J .. set, 'XX', 'LT', before, name)
  return before
end

-- The group's part of a settlement; its pace is that of the claim.
local function settle_group(P, group, now, asked, unused)
  local ledger = redis.call('HMGET', P .. 'host:' .. group, 'next', 'inflight', 'waiting', 'pace', 'before')
  local due = unless_unused(unused, 'groups', group, as_number(ledger[1]), ledger[2], ledger[5])
  if asked then due = math.max(due, asked + as_number(ledger[4])) end
  end_requests(P, group, 1, as_number(ledger[2]), ledger[3] or '', due, now)
end

-- A request to `host` has ended: free its turn, and wake the jobs that waited for it. Of the visit:
--   asked  when the host was asked (ms; nil: it was not)
--   pace   ms between requests to a host that wants nothing else (nil: as when it was claimed); a rule goes before it
--   delay  ms that this host wants (nil: as before)
--   rest   when it wants to be asked again at the earliest (ms; nil or 0: it did not say)
--   unused the job's prefix when the host was surely not asked: it is free again; nil otherwise
local function settle(P, host, now, visit)
  local H, asked, rest = P .. 'host:' .. host, visit.asked, visit.rest or 0
  local ledger = redis.call('HMGET', H, 'next', 'inflight', 'waiting', 'delay', 'pace', 'group', 'rest', 'before')
  local due = unless_unused(visit.unused, 'hosts', host, as_number(ledger[1]), ledger[2], ledger[8])
  due = math.max(due, rest)
  if asked then
    local pace = rule(P, 'rate host ' .. host) or visit.pace or as_number(ledger[5])
    due = math.max(due, asked + math.max(pace, visit.delay or as_number(ledger[4])))
  end
  if visit.delay then redis.call('HSET', H, 'delay', visit.delay) end
  if rest > 0 then redis.call('HSET', H, 'rest', math.max(rest, as_number(ledger[7]))) end
  asker_of(P, host) -- forgets it, if it was the one that ended
  end_requests(P, host, 1, as_number(ledger[2]), ledger[3] or '', due, now)
  if (ledger[6] or '') ~= '' then settle_group(P, ledger[6], now, asked, visit.unused) end
end
