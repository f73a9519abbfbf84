-- needs: number, rules, asking
-- Settles the ledger of hosts, and of groups of hosts that share an address, when a request in flight ends.
--
-- Gives  settle(P, host, now, visit), settle_group(P, group, now, asked, unused, earliest) and
--        end_requests(P, name, n, inflight, waiting, due, now); see there
--        adapted(latency, target, longest) → the ms between requests to a host that takes `latency` ms for its
--        answers, such that `target` requests are in flight at once; `longest` at most; 0: the pace is not adapted
-- Stays true: `inflight` is the number of leases; the jobs named in `waiting` find the host or group due again.

local function adapted(latency, target, longest)
  return target > 0 and math.min(longest, latency / target) or 0
end

-- Takes `n` requests of a host or group out of flight and sets its next turn to `due`. Wakes the jobs that wait for
-- room: for the host itself, or (`@JOB`) for the hosts in the group's line.
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

-- Whether the turn that the last claim booked is free again: it was not used, and no other request is in flight. `J`:
-- the job of that claim; nil: the turn was used, or may have been.
local function is_unused(J, inflight, before)
  return J and as_number(inflight) == 1 and (before or '') ~= ''
end

-- Makes a host or group whose turn is free again due in that job: at once if it was active, else as the first of those
-- that have waited longest.
local function come_back(J, set, name, before, now)
  redis.call('ZADD', J .. set, 'XX', 'LT', before > now - ACTIVE_FOR and now or before, name)
end

-- Settles the ledger of a group, with the pace of the claim; its next turn is at `earliest` (ms) or later. Returns it.
local function settle_group(P, group, now, asked, unused, earliest)
  local ledger = redis.call('HMGET', P .. 'host:' .. group, 'next', 'inflight', 'waiting', 'pace', 'before')
  local is_back = is_unused(unused, ledger[2], ledger[5])
  local due = math.max(as_number(is_back and ledger[5] or ledger[1]), earliest or 0)
  if asked then due = math.max(due, asked + as_number(ledger[4])) end
  end_requests(P, group, 1, as_number(ledger[2]), ledger[3] or '', due, now)
  if is_back then come_back(unused, 'groups', group, as_number(ledger[5]), now) end
  return due
end

-- Ends a request to `host`: frees its turn, and wakes the jobs that wait for it. Returns its group's next turn (ms;
-- nil: it has no group). Of the visit:
--   asked  when the host was asked (ms; nil: it was not)
--   pace   ms between requests to a host that asked for no delay (nil: the pace of the claim); a rule overrides it
--   delay  ms between requests that this host asked for (nil: unchanged)
--   rest   the earliest time (ms) at which it wants to be asked again (nil or 0: it did not say)
--   turn   ms until its group has a turn in the group's home shard (nil: the group is at home in this one)
--   unused the job's prefix if the host was certainly not asked, which frees the turn; nil otherwise
local function settle(P, host, now, visit)
  local H, asked, rest = P .. 'host:' .. host, visit.asked, visit.rest or 0
  local ledger = redis.call('HMGET', H, 'next', 'inflight', 'waiting', 'delay', 'pace', 'group', 'rest', 'before')
  local is_back = is_unused(visit.unused, ledger[2], ledger[8])
  local due = math.max(as_number(is_back and ledger[8] or ledger[1]), rest)
  if asked then
    local pace = rule(P, 'rate host ' .. host) or visit.pace or as_number(ledger[5])
    due = math.max(due, asked + math.max(pace, visit.delay or as_number(ledger[4])))
  end
  if visit.delay then redis.call('HSET', H, 'delay', visit.delay) end
  if rest > 0 then redis.call('HSET', H, 'rest', math.max(rest, as_number(ledger[7]))) end
  asker_of(P, host) -- forgets the asker if its lease is the one that ended
  end_requests(P, host, 1, as_number(ledger[2]), ledger[3] or '', due, now)
  if is_back then come_back(visit.unused, 'hosts', host, as_number(ledger[8]), now) end
  if (ledger[6] or '') == '' then return nil end
  return settle_group(P, ledger[6], now, asked, visit.unused, visit.turn and now + visit.turn)
end
