-- Rules that several transitions share; put in front of each script when it is loaded.

local BREAKER = 5 -- failures of a host in a row after which it is asked one request at a time, and ever more rarely

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What a hash should hold as a number; 0 where anything else stands.
local function as_number(text)
  local found = tonumber(text)
  return found and found > -1e15 and found < 1e15 and found or 0 -- NaN is neither
end

-- Of a canonical URL; nil: it has none. A backslash would be an escape of JSON, which only Python reads.
local function host_of(url)
  return string.match(url, '^https?://(%[[0-9a-f:.]+%])[:/]') or string.match(url, '^https?://([!$-.0-9;=_`a-~]+)[:/]')
end

-- Whether a count is written as JSON writes it, and kept exactly by a double.
local function is_count(text)
  return #text == 1 or (#text <= 14 and string.byte(text) ~= 48)
end

local function is_priority(text)
  return text == '0' or (string.find(text, '^%-?[1-9]%d?%d?%d?$') and math.abs(text) <= 1000)
end

-- version, delivery, attempt, crashes, priority, url, rest of a message of any version; nil when it is none: when it
-- lacks what `_HEAD` of message.py asks for, a host included.
local function read(message)
  local version, delivery, attempt, crashes, priority, url, rest =
    string.match(message, '^%[(%d+),(%d+),(%d+),(%d+),(%-?%d+),"([^"]*)"(.*)$')
  if url and is_count(version) and is_count(delivery) and is_count(attempt) and is_count(crashes)
    and is_priority(priority) and host_of(url) then
    return version, delivery, attempt, crashes, priority, url, rest
  end
end

-- The same message after one delivery more, with `crashed` (0 or 1) more crashes.
local function redelivered(message, crashed)
  local version, delivery, attempt, crashes, priority, url, rest = read(message)
  delivery = (delivery + 1) % 1e14
  return string.format('[%s,%d,%s,%d,%s,"', version, delivery, attempt, crashes + crashed, priority) .. url .. '"' .. rest
end

local function gone(stats, epoch)
  return redis.call('HGET', stats, 'epoch') ~= epoch
end

-- A double keeps 53 bits; which ones does not matter as long as the same integer always gives the same ones.
local function hash(fingerprint, range)
  return math.floor(fingerprint / 2048) % range
end

local function power_below(number)
  local power = 1
  while power * 2 <= number do power = power * 2 end
  return power
end

-- The bucket of the seen-set that an integer lies in: with N buckets and L the power of two below, h mod 2L, or
-- h mod L where that is ≥ N.
local function place_of(fingerprint, buckets, low)
  local place = hash(fingerprint, low * 2)
  return place < buckets and place or hash(fingerprint, low)
end

-- The fingerprint beside this one, of which it is the twin in turn. No request has it but by a chance of 2^-64 a pair.
local function twin_of(fingerprint)
  local last = string.byte(fingerprint, -1)
  return string.sub(fingerprint, 1, -2) .. string.char(last % 2 == 0 and last + 1 or last - 1)
end

-- Of a rule; nil: the bytes are none.
local function number_in(text)
  local digits = string.match(text, '^(%d+) ')
  return digits and #digits <= 15 and tonumber(digits) or nil
end

-- The lease that has a host to itself (`take.lua`), as `asking` names it; nil: none has. One that has ended, however it
-- did, is forgotten here. While nobody asks any host this costs one HLEN a script.
local are_asked
local function asker_of(P, host)
  if are_asked == nil then are_asked = redis.call('HLEN', P .. 'asking') > 0 end
  local asker = are_asked and redis.call('HGET', P .. 'asking', host)
  if not asker then return nil end
  local job, worker, message = string.match(asker, '^([^\n]*)\n([^\n]*)\n(.*)$')
  if job and redis.call('LPOS', P .. 'job:' .. job .. ':processing:' .. worker, message) then return asker end
  redis.call('HDEL', P .. 'asking', host)
  return nil
end

-- The rules that people have set (`crawler/control/rules.py`), as far as they are read: key → its number (ms between requests, a
-- count, or 1), false: there is none. Some are read at once, of many those that are asked for; none cost one HLEN.
local rules, all_read
local function is_ruled(P)
  if rules ~= nil then return rules end
  local many = redis.call('HLEN', P .. 'rules')
  rules, all_read = many > 0 and {}, many <= 100
  if rules and all_read then
    local flat = redis.call('HGETALL', P .. 'rules')
    for i = 1, #flat, 2 do rules[flat[i]] = number_in(flat[i + 1]) end
  end
  return rules
end

local function rule(P, key)
  if not is_ruled(P) then return false end
  if rules[key] == nil and not all_read then
    local text = redis.call('HGET', P .. 'rules', key)
    rules[key] = text and number_in(text)
  end
  return rules[key] or false
end

-- A host waits no more for the turn of its group; returns 1, or 0 when it did not.
local function leave_line(P, J, host)
  local group = redis.call('HGET', P .. 'host:' .. host, 'group')
  return (group or '') ~= '' and redis.call('ZREM', J .. 'line:' .. group, host) or 0
end

-- The last requests that were skipped, and what for.
local function note_skip(J, url, reason, detail)
  redis.call('XADD', J .. 'skips', 'MAXLEN', '~', 10000, '*', 'url', url, 'reason', reason, 'detail', detail)
end

-- Hosts with any priority but 0 list their levels, highest first.
local function note_level(J, host, priority)
  local levels = redis.call('HGET', J .. 'levels', host)
  if not levels then
    if priority == '0' then return end
    levels = '0'
  end
  local all = {}
  for level in string.gmatch(levels, '%S+') do
    if level == priority then return end
    all[#all + 1] = tonumber(level)
  end
  all[#all + 1] = tonumber(priority)
  table.sort(all, function(a, b) return a > b end)
  redis.call('HSET', J .. 'levels', host, table.concat(all, ' '))
end

-- To the front of its host's line.
local function push_front(J, message, now)
  local _, _, _, _, priority, url = read(message)
  local host = host_of(url)
  redis.call('RPUSH', J .. 'pending:' .. priority .. ':' .. host, message)
  note_level(J, host, priority)
  redis.call('ZADD', J .. 'hosts', 'NX', now, host)
end

-- To pending: the front of its line, or the delayed set when it must wait.
local function put_back(J, message, now, delay)
  if delay > 0 then
    redis.call('ZADD', J .. 'delayed', now + delay, message)
  else
    push_front(J, message, now)
  end
end

-- The ms between requests to a host that took `latency` ms for its answers: so many that `target` of them would be on
-- their way at once, `most` at most. 0: the pace is not adapted.
local function adapted(latency, target, most)
  return target > 0 and math.min(most, latency / target) or 0
end

-- A ledger (of a host, or of the group of hosts that share an address) has `n` requests less in flight and is not asked
-- before `due`. Wakes the jobs that wait for a slot: for the host itself, or (`@JOB`) for the hosts in the group's line.
local function free_slots(P, name, n, inflight, waiting, due, now)
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
  free_slots(P, group, 1, as_number(ledger[2]), ledger[3] or '', due, now)
end

-- A request to `host` has ended: free its slot, and wake the jobs that waited for one.
--   asked  when the host was asked (ms; nil: it was not)
--   pace   ms between requests to a host that wants nothing else (nil: as when it was claimed); a rule goes before it
--   delay  ms that this host wants (nil: as before)
--   rest   when it wants to be asked again at the earliest (ms; 0: it did not say)
--   unused the job's prefix when the host was surely not asked: it is free again; nil otherwise
local function settle(P, host, now, asked, pace, delay, rest, unused)
  local H = P .. 'host:' .. host
  local ledger = redis.call('HMGET', H, 'next', 'inflight', 'waiting', 'delay', 'pace', 'group', 'rest', 'before')
  local due = unless_unused(unused, 'hosts', host, as_number(ledger[1]), ledger[2], ledger[8])
  due = math.max(due, rest)
  if asked then
    pace = rule(P, 'rate host ' .. host) or pace or as_number(ledger[5])
    pace = math.max(pace, delay or as_number(ledger[4]))
    due = math.max(due, asked + pace)
  end
  if delay then redis.call('HSET', H, 'delay', delay) end
  if rest > 0 then redis.call('HSET', H, 'rest', math.max(rest, as_number(ledger[7]))) end
  asker_of(P, host) -- forgets it, if it was the one that ended
  free_slots(P, host, 1, as_number(ledger[2]), ledger[3] or '', due, now)
  if (ledger[6] or '') ~= '' then settle_group(P, ledger[6], now, asked, unused) end
end

-- Keep a dead letter; `record` is a JSON object that lacks its time. Returns 1, or 0 when those very bytes lay there.
local function bury(J, message, record, now)
  local id = string.sub(redis.sha1hex(message), 1, 12)
  return redis.call('HSET', J .. 'dead', id, '{"died":' .. string.format('%d', now) .. ',' .. string.sub(record, 2))
end

-- A dead letter written without a worker's help.
local function own_record(message, kind, why, worker)
  local _, _, attempt = read(message)
  return cjson.encode({
    attempts = tonumber(attempt or 0), worker = worker, message = message,
    failure = { kind = kind, message = why },
  })
end

-- Whose request a message is; nil when it is none.
local function spider_of(message)
  local _, _, _, _, _, _, rest = read(message)
  return rest and string.match(rest, '^,%d+,"([^"]*)"')
end

-- How the last pages of a host or a spider (`subject`) went: pages, of these failed alike, kind. Only of those that
-- failed lately; the older a page is, the less it counts. Returns how many had failed alike before, and whether that
-- is enough now: at least `least`, and more than `share` of the pages.
local function note_outcome(J, subject, kind, share, least, now)
  local recent = J .. 'recent'
  local before = redis.call('HGET', recent, subject)
  if not before then
    if kind == 'ok' then return 0, false end
    if redis.call('HLEN', recent) >= 10000 then redis.call('DEL', recent) end -- a bound, and no more
  end
  local pages, failed, alike = string.match(before or '', '^(%d+) (%d+) (%S+)$')
  pages, failed, alike = as_number(pages) + 1, as_number(failed), alike or '?'
  local known = kind == alike and failed or 0
  if kind == alike then failed = failed + 1
  elseif kind ~= 'ok' and failed == 0 then failed, alike = 1, kind
  elseif kind ~= 'ok' then failed = failed - 1 end -- a vote: the kind of most failures stays
  if failed >= least and failed > share * pages then
    local why = string.format('%d %d of %d failed with %s', now, failed, pages, alike)
    redis.call('HSETNX', J .. 'paused', subject, why)
    redis.call('HDEL', recent, subject)
    return known, true
  end
  if pages >= least / math.min(share, 0.5) then pages, failed = math.floor(pages / 2), math.floor(failed / 2) end
  if failed == 0 then redis.call('HDEL', recent, subject)
  else redis.call('HSET', recent, subject, string.format('%d %d %s', pages, failed, alike)) end
  redis.call('PEXPIRE', recent, 86400000)
  return known, false
end

-- Pause a host or spider of a job when its pages fail alike. A page that fails counts with its first try: the last
-- requests of any crawl are those that fail again and again.
--   kind  ok, the kind of a failure that is not the page's own, or '' when nothing was found out
local function watch(J, host, message, kind, share, least, now)
  if kind == '' or share >= 1 then return end
  if kind == 'ok' and redis.call('EXISTS', J .. 'recent') == 0 then return end -- the usual case
  local _, _, attempt = read(message)
  if kind ~= 'ok' and attempt ~= '0' then return end
  local known, paused = note_outcome(J, 'host ' .. host, kind, share, least, now)
  -- one bad host is not its spider's fault: there each host that fails counts once
  if kind == 'ok' or (known == 0 and not paused) then
    note_outcome(J, 'spider ' .. (spider_of(message) or ''), kind, share, least, now)
  end
end

local function count(stats, counters)
  for name, by in pairs(counters) do
    if by ~= 0 then redis.call('HINCRBY', stats, name, by) end
  end
end

-- Junk was put into the queue by hand, so it is admitted and ended in the same moment. The same bytes once more are
-- the same letter.
local function bury_junk(J, message, record, now, counters)
  if bury(J, message, record, now) == 0 then return end
  for _, name in ipairs({ 'known', 'admitted', 'dead', 'finished', 'dead/junk' }) do
    counters[name] = (counters[name] or 0) + 1
  end
end
